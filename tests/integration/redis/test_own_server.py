"""The embedded server's life: start, adopt, replace, stop; and everything that may lie about from before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.kernel.errors import UnavailableError
from pancode.kernel.host.disk_use import bytes_in
from pancode.kernel.processes import boot_id, start_of
from pancode.queue.valkey.access import connect
from pancode.queue.valkey.embedded_server import EmbeddedValkey, RunningServer
from pancode.queue.valkey.layout import SOCKET_BYTES
from pancode.queue.valkey.process import wait_until
from tests.crowd import crowded, until

CLOCK = SystemClock()


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, since there is a socket in it. Every server that a test leaves running in it is ended."""
    folder = Path(tempfile.mkdtemp(prefix="pcv-"))
    yield folder
    for record in folder.rglob("server.json"):
        server(record.parent).stop()
    shutil.rmtree(folder)


def server(folder: Path, intervals: str = "") -> EmbeddedValkey:
    return EmbeddedValkey(folder, CLOCK, SystemIds(), intervals=intervals, patience_ms=700)


def put(running: RunningServer, value: str) -> None:
    client = connect(running.access)
    client.set("k", value)
    client.close()


def got(running: RunningServer) -> object:
    client = connect(running.access)
    value = client.get("k")
    client.close()
    return value


def test_started_again_it_has_its_data(home: Path) -> None:
    first = server(home / "valkey")
    put(first.start_or_adopt("1"), "v")
    first.stop()
    assert not first.alive()
    assert not (home / "valkey/valkey.sock").exists() and not (home / "valkey/server.json").exists()
    first.stop()
    again = first.start_or_adopt("1")
    assert not again.adopted and got(again) == b"v"


def test_its_file_has_no_more_than_it_holds_and_two_megabytes(home: Path) -> None:
    running = server(home / "valkey").start_or_adopt("1")
    client = connect(running.access)
    for _ in range(300):
        client.set("k", "v" * 10_000)
    client.close()
    data = home / "valkey/appendonlydir"
    until(lambda: bytes_in(data) < 1_500_000, "it is rewritten")


def test_one_that_runs_is_adopted_by_the_next_coordinator(home: Path) -> None:
    first = server(home / "valkey").start_or_adopt("1")
    put(first, "v")
    second = server(home / "valkey").start_or_adopt("1")
    assert second.adopted and second.pid == first.pid and got(second) == b"v"


@pytest.mark.parametrize("change", ["version", "configuration"])
def test_one_that_was_started_as_something_else_is_replaced(home: Path, change: str) -> None:
    first = server(home / "valkey").start_or_adopt("1")
    put(first, "v")
    other = server(home / "valkey", intervals="hz 11\n" if change == "configuration" else "")
    second = other.start_or_adopt("2" if change == "version" else "1")
    assert not second.adopted and second.pid != first.pid and got(second) == b"v"
    assert wait_until(CLOCK, int(5_000 * crowded()), lambda: start_of(first.pid) == "")


def test_a_killed_one_is_started_again(home: Path) -> None:
    one = server(home / "valkey")
    first = one.start_or_adopt("1")
    put(first, "v")
    os.kill(first.pid, signal.SIGKILL)
    assert wait_until(CLOCK, int(5_000 * crowded()), lambda: not one.alive())
    assert (home / "valkey/valkey.sock").exists(), "nothing stale to sweep"
    second = one.start_or_adopt("1")
    assert not second.adopted and got(second) == b"v"


def test_a_frozen_one_is_ended_and_replaced(home: Path) -> None:
    """It does not answer, so it cannot be adopted; SHUTDOWN and TERM do not reach it either."""
    one = server(home / "valkey")
    first = one.start_or_adopt("1")
    put(first, "v")
    os.kill(first.pid, signal.SIGSTOP)
    second = server(home / "valkey").start_or_adopt("1")
    assert not second.adopted and second.pid != first.pid and got(second) == b"v"


def test_another_process_with_the_recorded_number_is_left_alone(home: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        one = server(home / "valkey")
        one.start_or_adopt("1")
        one.stop()
        record = {"boot": boot_id(), "pid": bystander.pid, "started": "1", "version": "1", "socket": "x"}
        (home / "valkey/server.json").write_text(json.dumps(record))
        assert not one.alive()
        assert not one.start_or_adopt("1").adopted
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"pid": 1}', None])
def test_one_whose_record_is_lost_is_ended_and_replaced(home: Path, record: str | None) -> None:
    first = server(home / "valkey").start_or_adopt("1")
    put(first, "v")
    path = home / "valkey/server.json"
    path.unlink()
    if record is not None:
        path.write_text(record)
    second = server(home / "valkey").start_or_adopt("1")
    assert not second.adopted and got(second) == b"v"
    assert start_of(first.pid) == ""


def test_one_that_nobody_can_reach_is_never_joined_by_a_second(home: Path) -> None:
    first = server(home / "valkey").start_or_adopt("1")
    for name in ("server.json", "valkey.sock"):
        (home / "valkey" / name).rename(home / name)
    with pytest.raises(UnavailableError) as caught:
        server(home / "valkey").start_or_adopt("1")
    assert "server.lock" in caught.value.fix
    assert start_of(first.pid) != ""
    (home / "server.json").rename(home / "valkey/server.json")


def test_two_homes_run_side_by_side(home: Path) -> None:
    runs = [server(home / name / "valkey").start_or_adopt("1") for name in ("a", "b")]
    for number, running in enumerate(runs):
        put(running, str(number))
    assert [got(running) for running in runs] == [b"0", b"1"]
    server(home / "a" / "valkey").stop()
    assert got(runs[1]) == b"1"
    wrong = connect(
        runs[1].access.__class__("x", socket=runs[1].access.socket, user="coordinator", password="x")
    )
    with pytest.raises(Exception, match="WRONGPASS|invalid username"):
        wrong.ping()
    wrong.close()


START = """
import sys
from pathlib import Path
from node_agent.wire.clock import SystemClock, SystemIds
from pancode.queue.valkey.embedded_server import EmbeddedValkey
print(EmbeddedValkey(Path(sys.argv[1]), SystemClock(), SystemIds()).start_or_adopt("1").pid)
"""


def test_two_starting_at_once_end_with_one_server(home: Path) -> None:
    """Also: it outlives the processes that started it."""
    command = [sys.executable, "-c", START, str(home / "valkey")]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    pids = {start.communicate(timeout=60)[0].strip() for start in starts}
    assert len(pids) == 1 and pids != {""}
    running = server(home / "valkey").start_or_adopt("1")
    assert running.adopted and str(running.pid) in pids


def test_a_long_path_gets_a_short_socket_and_a_link(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    folder = home / ("long" * 30) / "valkey"
    running = server(folder).start_or_adopt("1")
    socket = running.access.socket
    assert socket is not None and len(socket) <= SOCKET_BYTES and socket.startswith(str(runtime))
    assert (folder / "valkey.sock").resolve() == Path(socket)
    put(running, "v")
    assert server(folder).start_or_adopt("1").adopted
    other = server(home / ("long" * 29) / "valkey").start_or_adopt("1")
    assert other.access.socket != socket and got(other) is None


def test_a_folder_that_others_can_enter_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = home / "run"
    (runtime / "pancode").mkdir(mode=0o755, parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with pytest.raises(UnavailableError, match="not safe"):
        server(home / ("long" * 30) / "valkey")


def test_data_that_cannot_be_loaded_is_put_aside(home: Path) -> None:
    one = server(home / "valkey")
    put(one.start_or_adopt("1"), "v")
    one.stop()
    for part in (home / "valkey/appendonlydir").glob("*.incr.aof"):
        part.write_bytes(b"*9\r\nnonsense\r\n" * 50)
    running = one.start_or_adopt("1")
    assert "was moved to" in running.repaired and got(running) is None
    assert len(list((home / "valkey").glob("appendonlydir.bad-*"))) == 1


def test_a_server_that_does_not_start_says_why(home: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        server(home / "valkey", intervals="no-such-setting 1\n").start_or_adopt("1")
    assert "no-such-setting" in caught.value.why and "valkey.log" in caught.value.fix
    assert not server(home / "valkey").alive()
    assert not server(home / "valkey").start_or_adopt("1").adopted


def test_a_path_with_every_kind_of_character(home: Path) -> None:
    running = server(home / 'a "b" \\ c\n# é $(d)' / "valkey").start_or_adopt("1")
    put(running, "v")
    assert got(running) == b"v"
