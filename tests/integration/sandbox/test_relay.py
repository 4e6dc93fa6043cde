"""The relay: from a port inside to a socket outside, whole and both ways, and it becomes the command."""

from __future__ import annotations

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
from node_agent.sandbox.policy import Network
from tests.crowd import crowded
from tests.integration.sandbox.ground import PYTHON, ground

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def through(path: Path, *command: str, port: int) -> subprocess.CompletedProcess[str]:
    """In a session of its own, whose rest is ended, as the wall's end would."""
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
    port = free_port()
    done = through(echo, sys.executable, "-c", ASK, str(port), str(size), port=port)
    assert (done.returncode, done.stdout) == (0, f"{2 * size}\n"), done.stderr


def test_nobody_behind_the_socket_is_a_closed_connection(tmp_path: Path) -> None:
    port = free_port()
    done = through(tmp_path / "none.sock", sys.executable, "-c", ASK, str(port), "0", port=port)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_exit_status_is_the_commands(echo: Path) -> None:
    assert through(echo, "sh", "-c", "exit 7", port=free_port()).returncode == 7
    assert through(echo, "no-such-program", port=free_port()).returncode == relay.NOT_FOUND
    assert through(echo, "/etc", port=free_port()).returncode == relay.NOT_RUNNABLE


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
        done = place.run(view, *words, PYTHON, "-c", ASK, "8790", "5000")
        assert done.stdout == "10000\n", done.stderr
        assert place.probe(view)["reach a port of the machine"] != "done"
        server.shutdown(socket.SHUT_RDWR)
