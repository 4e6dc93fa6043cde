"""Who takes the coordinator's public name and is no coordinator keeps nobody from starting."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from node_agent.wire.clock import SystemClock
from pancode.kernel.host.fleet_lock import Alone, CopyAtWorkError

HOLD = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind('\\0pancode-coordinator-' + sys.argv[1]);"
    "s.listen(4096); print('taken', flush=True); sys.stdin.read()"
)
WALL = ("bwrap", "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "--die-with-parent")


@contextmanager
def holder(name: str, *before: str, **more: str) -> Iterator[None]:
    argv = [*before, sys.executable, "-c", HOLD, name]
    environ = {**os.environ, **more}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"taken\n"
        try:
            yield
        finally:
            process.communicate(timeout=30)


@pytest.fixture
def alone() -> Iterator[Alone]:
    made = Alone(f"test-{os.getpid()}", "/home", SystemClock(), patience_ms=100)
    yield made
    made.leave()


def test_a_run_behind_the_wall_is_named_and_stops_nobody(alone: Alone) -> None:
    with holder(f"test-{os.getpid()}", *WALL):
        alone.take()
        assert alone.squatter is not None


def test_a_run_without_a_wall_too(alone: Alone) -> None:
    with holder(f"test-{os.getpid()}", PANCODE_ATTEMPT="r-0001.1.1"):
        alone.take()
        assert alone.squatter is not None


def test_another_process_of_ours_is_taken_for_a_coordinator(alone: Alone) -> None:
    with holder(f"test-{os.getpid()}"), pytest.raises(CopyAtWorkError):
        alone.take()
    alone.take()
    assert alone.squatter is None
