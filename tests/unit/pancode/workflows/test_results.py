"""What a run has left is read: files, a verdict, the size of its change; and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.errors import UnavailableError, WorkspaceError
from tests.unit.pancode.workflows.trees import LOOP, Trees, changed, git
from tests.unit.pancode.workflows.world import Flows


def test_a_result_that_cannot_be_read_ends_its_step_alone(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    flows.begin(git("a", files=["a"]), git("b"), kind="graph", cwd=str(tmp_path / "shop"))
    flows.claim()
    trees.broken = WorkspaceError("git failed", why="bad object")
    flows.end("a", **changed(trees, "b"))
    assert flows.states() == {"a": "failed", "b": "running"}
    assert flows.runs()["b"].stop_asked is None
    flows.end("b")
    assert flows.show()["state"] == "failed" and flows.show()["reason"] == "a: git failed; bad object"


def test_a_result_is_read_later_when_it_cannot_be_read_now(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    flows.begin(git("a", files=["a"]), kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    trees.broken = UnavailableError("the disk is full")
    with pytest.raises(UnavailableError):
        flows.end("a", **changed(trees, "b"))
    trees.broken, trees.files = None, {"b" * 40: {"a": b""}}
    flows.advance()
    assert flows.show()["state"] == "done"


def test_a_change_that_cannot_be_measured_does_not_win(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    steps = [git(name) for name in "xy"]
    flows.begin(*steps, kind="race", race={"by": "smallest"}, cwd=str(tmp_path / "shop"))
    flows.claim()
    trees.broken = WorkspaceError("git failed")
    flows.end("x", **changed(trees, "b"))
    flows.end("y", **changed(trees, "c"))
    assert (flows.show()["winner"], flows.show()["state"]) == ("y", "done")


@pytest.mark.parametrize("end", [{}, {"commit": "b" * 40, "change": "change", "files_changed": ("a",)}])
def test_a_verdict_that_was_there_before_is_none_of_this_run(
    flows: Flows, trees: Trees, tmp_path: Path, end: dict[str, Any]
) -> None:
    alone = {**LOOP, "back_to": "review"}
    flows.begin(git("review", **alone), kind="graph", cwd=str(tmp_path / "shop"))
    flows.claim()
    trees.commits.add("b" * 40)
    trees.files = {letter * 40: {"verdict.json": b'{"verdict": "approved"}'} for letter in "ab"}
    flows.end("review", **end)
    told = flows.show()
    assert told["state"] == "failed" and "this run did not write verdict.json" in told["reason"]


def test_a_file_that_is_to_be_kept_and_is_not_there(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    flows.begin(git("a", files=["docs/*.md"]), kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("a", **changed(trees, "b"))
    assert flows.show()["reason"] == "a: missing output: docs/*.md is not in its result"
