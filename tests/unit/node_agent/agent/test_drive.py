"""The threads of attempts: what ends a wait, and what does not."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from node_agent.agent.worker import ThreadDrive
from node_agent.attempt.context import Finished, Turn, Wait
from node_agent.wire.clock import SystemClock
from node_agent.wire.identity import AttemptId

ONE = AttemptId(run="r-0001", attempt=1, lease=1)


def test_only_a_wait_that_names_files_ends_when_they_change(tmp_path: Path) -> None:
    """After a chat its gates may write where it was watched: that must not end each of their waits."""
    (tmp_path / "out").write_bytes(b"")
    watched, gates = Wait("running", 1, tmp_path, (tmp_path / "out",)), Wait("gates", 1, tmp_path)
    turns: list[Turn] = [watched, watched, gates, gates, Finished()]
    wakes: list[int | None] = []
    done = threading.Event()
    procedure: Any = SimpleNamespace(advance=lambda identity: turns.pop(0))
    journal: Any = SimpleNamespace(
        live=lambda: [SimpleNamespace(identity=ONE, holds_slot=True, is_held=False)],
        get=lambda identity: None,
        job=lambda identity: SimpleNamespace(turns=1),
    )
    runner: Any = SimpleNamespace(wait=lambda folder, seconds, wake: wakes.append(wake))
    drive = ThreadDrive(procedure, journal, runner, SystemClock(), 1_000)
    drive.moved = lambda identity, turn: done.set() if isinstance(turn, Finished) else None
    drive.run()
    assert done.wait(20)
    first, second, *later = wakes
    assert first is None and second is not None, "watched from the first wait on"
    assert later == [None, None]
