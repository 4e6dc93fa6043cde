"""Holds how far a run goes through the code: the numbers may shrink; a change that raises one says why."""

from __future__ import annotations

from tests.architecture.house import room_changes, traced_run

FILES, CHANGES = 85, 55


def test_a_run_goes_through_few_files_and_rooms() -> None:
    files = traced_run()
    assert "node_agent/attempt/job.py" in files and "pancode/control/plane.py" in files, "it is a whole run"
    assert len(files) <= FILES, files
    assert room_changes(files) <= CHANGES, files
