"""Coordinator and node agent tell a manager that they are ready and get on; who hangs is silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from pancode.app.server import coordinator_thread
from pancode.app.server.serve import API, ROUNDS, Serving
from pancode.fleet.systemd.notify import read_watchdog
from pancode.interfaces.client.client import Client
from pancode.runs import reconcile as rounds
from pancode.runs.core import Core
from tests.integration.faces.world import LiveDesk
from tests.integration.node.node_world import NodeWorld
from tests.integration.systemd.hearing import Hearing, hearing
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator

ROOT = Path(__file__).parents[3]
SILENCE_S = 1.5
"""Several times what a manager's patience is here."""


@pytest.fixture
def ear() -> Iterator[Hearing]:
    with hearing() as made:
        yield made


@contextmanager
def begun(*words: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program of ours, ended with the test."""
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
    process = subprocess.Popen([sys.executable, "-m", *words], env=plain, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def silent_while_stopped(ear: Hearing, process: subprocess.Popen[bytes]) -> None:
    """It is heard, is not while its threads stand still, and is again."""
    ear.until("WATCHDOG=1")
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    ear.drain()
    assert ear.next(SILENCE_S) == ""
    process.send_signal(signal.SIGCONT)
    ear.until("WATCHDOG=1")


@pytest.mark.slow
def test_a_coordinator_is_ready_when_it_answers_and_is_heard_while_it_works(
    tmp_path: Path, ear: Hearing
) -> None:
    home = tmp_path / "h"
    environ = {"HOME": str(tmp_path), "PANCODE_HOME": str(home), **ear.environ()}
    with begun("pancode", "serve", "--child", environ=environ) as process:
        assert ear.until("READY=1") == []
        assert Client(home, starts=False).get("/v1/fleet")["coordinator"]["pid"] == process.pid
        silent_while_stopped(ear, process)
        told = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" in told, "as it was started"
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{child}/environ").read_bytes()
        with (
            hearing() as other,
            begun("pancode", "serve", "--child", environ={**environ, **other.environ()}) as second,
        ):
            assert second.wait(60) == 73, "the home is held: nothing that another start would repair"
            assert other.next(0.1) == ""
        process.terminate()
        ear.until("STOPPING=1")
        assert process.wait(60) == 0


@contextmanager
def served(home: Path, ear: Hearing, coordinator: MemoryCoordinator) -> Iterator[None]:
    """A coordinator in this process, on memory."""
    watch = read_watchdog(ear.environ(), SystemClock(), frozenset({ROUNDS, API}))
    serving = Serving(home, lambda: coordinator, SystemClock(), watch)
    thread = threading.Thread(target=serving.run, name="served")
    thread.start()
    try:
        yield
    finally:
        serving.stop()
        thread.join(60)


@pytest.mark.slow
def test_a_round_that_hangs_silences_a_coordinator_that_still_answers(
    tmp_path: Path, ear: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    coordinator = MemoryCoordinator(LiveDesk(), home)
    hung, stuck, on = threading.Event(), threading.Event(), threading.Event()
    turn = rounds.run_pass

    def hanging(core: Core, woken: bool = False) -> int:
        if hung.is_set():
            stuck.set()
            on.wait(60)
        return turn(core, woken)

    monkeypatch.setattr(coordinator_thread, "run_pass", hanging)
    with served(home, ear, coordinator):
        ear.until("READY=1")
        ear.until("WATCHDOG=1")
        hung.set()
        assert stuck.wait(60)
        ear.drain()
        assert ear.next(SILENCE_S) == ""
        assert Client(home, starts=False).get("/v1/ping")
        hung.clear()
        on.set()
        ear.until("WATCHDOG=1")


@pytest.mark.slow
def test_a_node_agent_is_ready_when_its_home_can_be_worked_in_and_is_heard_while_it_turns(
    tmp_path: Path, ear: Hearing
) -> None:
    home = NodeWorld(tmp_path).home
    environ = {"HOME": str(tmp_path), **ear.environ()}
    with begun("node_agent", "run", "--home", str(home.root), environ=environ) as process:
        assert ear.until("READY=1") == []
        assert home.pid.read_text().strip() == str(process.pid)
        silent_while_stopped(ear, process)
        process.terminate()
        ear.until("STOPPING=1")
        assert process.wait(60) == 0
