"""The hygiene of this folder: what a program leaves behind is ended, and nothing else."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.clis.left import end_all_in, in_folder
from tests.crowd import crowded


def test_what_names_the_folder_is_ended_and_nothing_else(tmp_path: Path) -> None:
    inside, other = tmp_path / "b", tmp_path / "bb"
    for folder in (inside, other):
        folder.mkdir()
    script = "trap '' TERM INT HUP; while :; do sleep 0.2; done"
    # One that is there, one that only names it, each in a session of its own; and a neighbour.
    there = subprocess.Popen(["sh", "-c", script], cwd=inside, start_new_session=True)
    names = subprocess.Popen(["sh", "-c", script, f"{inside}/work"], start_new_session=True)
    apart = subprocess.Popen(["sh", "-c", script, f"{other}/work"], cwd=other, start_new_session=True)
    try:
        seen = set[int]()
        for _ in range(100):  # for a moment of its birth a program has no arguments
            seen = {pid for pid, _ in in_folder(inside)}
            if {there.pid, names.pid} <= seen:
                break
            time.sleep(0.02)
        assert {there.pid, names.pid} <= seen
        end_all_in(inside)
        assert there.wait(5 * crowded()) == names.wait(5 * crowded()) == -9
        assert apart.poll() is None
    finally:
        for process in (there, names, apart):
            process.kill()
            process.wait()
