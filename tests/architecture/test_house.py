"""Holds how far a run goes through the code: the numbers may shrink; a change that raises one says why."""

from __future__ import annotations

from tests.architecture.house import bodies_that_read_and_write, room_changes, traced_run

FILES, CHANGES, BODIES = 120, 60, 12


def test_a_run_goes_through_few_files_and_rooms() -> None:
    files = traced_run()
    assert "node_agent/attempt/job.py" in files and "pancode/control/plane.py" in files, "it is a whole run"
    assert len(files) <= FILES, files
    assert room_changes(files) <= CHANGES, files


def test_few_functions_of_the_control_plane_read_and_write_in_one_body() -> None:
    """Load the case, let the domain decide, and let `work.py` write it."""
    assert len(bodies_that_read_and_write()) <= BODIES
