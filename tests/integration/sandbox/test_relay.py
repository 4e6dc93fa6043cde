"""The relay: from a port inside to a socket outside, whole and both ways, and it becomes the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from node_agent.sandbox import relay
from node_agent.sandbox.policy import FILTER, Network
from node_agent.shim import memory_files
from tests.crowd import crowded
from tests.integration.sandbox.ground import PYTHON, STRANGER, ground
from tests.ports import find_free_port

BIG = 3_000_000
ASK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
    sock.sendall(b"x" * int(sys.argv[2])); sock.shutdown(socket.SHUT_WR)
    print(sum(len(part) for part in iter(lambda: sock.recv(65536), b"")))
"""


@pytest.fixture(params=["near", "d" * 120], ids=["near", "deep"])
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A server that sends back what it got, twice, once the other has ended; also where a home lies deep."""
    path = tmp_path / request.param / "model.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        at = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{at}/{path.name}")
        os.close(at)
        server.listen(8)
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield path
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        with sock:
            sock.sendall(_all_of(sock) * 2)


def _all_of(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def through(path: Path, *command: str, port: int) -> subprocess.CompletedProcess[str]:
    """In a session of its own, whose rest is ended, as the sandbox's end would."""
    argv = [sys.executable, "-I", "-S", relay.__file__, str(port), str(path), "--", *command]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as one:
        out, err = one.communicate(timeout=30 * crowded())
        with suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(argv, one.returncode, out, err)


@pytest.mark.parametrize("size", [0, 1, BIG])
def test_all_bytes_arrive_both_ways(echo: Path, size: int) -> None:
    port = find_free_port()
    done = through(echo, sys.executable, "-c", ASK, str(port), str(size), port=port)
    assert (done.returncode, done.stdout) == (0, f"{2 * size}\n"), done.stderr


def test_nobody_behind_the_socket_is_a_closed_connection(tmp_path: Path) -> None:
    port = find_free_port()
    done = through(tmp_path / "none.sock", sys.executable, "-c", ASK, str(port), "0", port=port)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_exit_status_is_the_commands(echo: Path) -> None:
    assert through(echo, "sh", "-c", "exit 7", port=find_free_port()).returncode == 7
    assert through(echo, "no-such-program", port=find_free_port()).returncode == relay.NOT_FOUND
    assert through(echo, "/etc", port=find_free_port()).returncode == relay.NOT_RUNNABLE


def test_a_port_that_is_taken_starts_nothing(echo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = through(echo, "echo", "started", port=taken.getsockname()[1])
    assert (done.returncode, done.stdout) == (relay.CANNOT_LISTEN, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize("as_root", [True, False], ids=["root", "user"])
def test_inside_the_wall_the_model_is_all_that_is_reached(as_root: bool) -> None:
    with ground(as_root) as place, socket.socket(socket.AF_UNIX) as server:
        gate = place.root / "gate"
        gate.mkdir()
        server.bind(str(gate / "model.sock"))
        (gate / "model.sock").chmod(0o777)
        server.listen(8)
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        view = place.view(Network.MODEL, gate=str(gate))
        view = place.view(Network.MODEL, gate=str(gate), shown=(*view.shown, relay.__file__))
        words = (PYTHON, "-I", "-S", relay.__file__, "8790", f"{gate}/model.sock", "--")
        for as_first in (True, False):
            done = place.run(view, *words, PYTHON, "-c", ASK, "8790", "5000", as_first=as_first)
            assert done.stdout == "10000\n", done.stderr
        assert place.probe(view)["reach a port of the machine"] != "done"
        server.shutdown(socket.SHUT_RDWR)


LOOK = """
import ctypes, json, os, sys, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # as our worker does
found, others = {}, [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid())]
for _ in range(200):  # the relay begins anew beside us
    if all(os.access(f"/proc/{pid}/environ", os.R_OK) for pid in others):
        break
    time.sleep(0.05)
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) == os.getpid():
        continue
    here, mine = f"/proc/{pid}", found.setdefault(pid, {"open": [], "key": False, "seen": False})
    names = [f"{here}/mem"]
    try:
        names += [f"{here}/fd/{one}" for one in os.listdir(f"{here}/fd")]
        mine["seen"] = bool(os.readlink(f"{here}/ns/pid"))
    except OSError:
        pass
    for name in names:
        try:
            os.close(os.open(name, os.O_RDWR if name.endswith("mem") else os.O_WRONLY))
            mine["open"].append("mem" if name.endswith("mem") else os.readlink(name))
        except OSError:
            pass
    try:
        mine["key"] = b"THE_KEY" in open(f"{here}/environ", "rb").read()
    except OSError:
        pass
print(json.dumps(found))
sys.exit(7)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize("as_root", [True, False], ids=["root", "user"])
@pytest.mark.parametrize("port", ["0", "8790"])
def test_nobody_inside_has_our_descriptors_our_environment_or_an_open_memory(
    as_root: bool, port: str
) -> None:
    with ground(as_root) as place:
        view = place.view(Network.MODEL, gate=str(place.root / "o"))
        view = place.view(Network.MODEL, gate=str(place.root / "o"), shown=(*view.shown, relay.__file__))
        words = (PYTHON, "-I", "-S", relay.__file__, port, str(place.root / "o/model.sock"), "--")
        look = (PYTHON, "-I", "-S", "-c", LOOK)
        done = place.run(view, *words, *look, as_first=True, THE_KEY="sk-secret")
        assert done.returncode == 7, done.stderr
        found = json.loads(done.stdout)
        assert found["1"] == {"open": [], "key": False, "seen": False}
        (other,) = [one for pid, one in found.items() if pid != "1"]
        assert other["seen"], "by it what lies in memory inside is counted"
        assert not other["key"] and set(other["open"]) <= {"/dev/null", "mem"}
        without = json.loads(place.run(view, *look, THE_KEY="sk-secret").stdout)
        assert without["1"]["key"] or without["1"]["open"], "as bubblewrap's own first process"


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize(
    ("command", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("(sleep 60 &) ; exit 0", 0)]
)
def test_the_first_process_ends_as_its_command_does(command: str, status: int) -> None:
    with ground(as_root=True) as place:
        view = place.view()
        view = place.view(shown=(*view.shown, relay.__file__))
        words = (PYTHON, "-I", "-S", relay.__file__, "0", "/", "--")
        done = place.run(view, *words, "sh", "-c", f"kill -INT 1; kill -TERM 1; {command}", as_first=True)
        assert done.returncode == status, done.stderr


FILL = """
import ctypes, sys
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # as our worker does
open("/tmp/large", "wb").write(bytes(5 << 20))
print("full", flush=True)
sys.stdin.read()
"""
COUNT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import memory_files
parents = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        parents[int(pid)] = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError:
        pass
ours = {int(sys.argv[2])}
while more := {pid for pid, above in parents.items() if above in ours} - ours:
    ours |= more
tries = 200  # the relay begins anew beside the program
while not (found := memory_files.in_folders(ours)) and (tries := tries - 1):
    time.sleep(0.05)
print(found)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_what_lies_in_memory_inside_is_counted_though_ours_hide() -> None:
    with ground(as_root=False) as place:
        view = place.view()
        view = place.view(shown=(*view.shown, relay.__file__))
        words = (PYTHON, "-I", "-S", relay.__file__, "0", "/", "--", PYTHON, "-c", FILL)
        argv = ["sh", "-c", 'exec 4<"$1"; shift; exec "$@" 3>/dev/null', "sh", f"{view.etc}/{FILTER}"]
        argv += place.argv(view, *words, as_first=True)
        shim = Path(memory_files.__file__).parent
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as one:
            assert one.stdout is not None and one.stdout.readline() == "full\n"
            (place.root / "memory_files.py").write_bytes((shim / "memory_files.py").read_bytes())
            down = ["setpriv", "--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
            count = [*down, PYTHON, "-I", "-S", "-c", COUNT, str(place.root), str(one.pid)]
            counted = subprocess.run(count, capture_output=True, text=True, check=True)
            one.communicate("")
        assert int(counted.stdout) >= 5 << 20
