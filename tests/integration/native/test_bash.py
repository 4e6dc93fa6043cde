"""The worker's bash: real commands, ended in time with all that they started, bounded in what they print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent.native.judge import Denied
from node_agent.native.tools.files import Box
from node_agent.native.tools.shell import CHILDREN, MOST_PRINTED, bash
from node_agent.wire.policy import Safety
from tests.clis.launched import runs
from tests.integration.node.node_world import until
from tests.unit.node_agent.native.tree_of import box_of, checkout, spec_of


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return box_of(spec_of(checkout(tmp_path), Safety.FULL_AUTO))


def test_it_prints_both_streams_and_how_it_ended(box: Box) -> None:
    assert bash(box, {"command": "echo a; echo b >&2; exit 3"}) == "a\nb\n\n[exit 3]"
    assert bash(box, {"command": "true"}) == "[exit 0]"
    assert bash(box, {"command": "pwd"}).startswith(box.tree.top)
    assert bash(box, {"command": "kill -9 $$"}) == "[ended by signal 9]"
    assert box.commands == 2, "the others only looked"


def test_it_has_nothing_to_read_and_no_variables_of_ours(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    said = bash(box, {"command": "cat; env"})
    assert "the-key" not in said and "PATH=" in said


def test_what_takes_too_long_is_ended_with_all_of_its_group(box: Box) -> None:
    long = f"sleep 300.{os.getpid()}1"
    said = bash(box, {"command": f"{long} & echo begun; {long}", "timeout_s": 1})
    assert said.startswith("begun") and "ended after 1 s" in said
    until(lambda: runs(long) == [])
    assert CHILDREN.alive == []


def test_what_is_left_in_the_background_is_ended_and_waited_for_no_longer(box: Box) -> None:
    long = f"sleep 300.{os.getpid()}2"
    assert bash(box, {"command": f"{long} & echo done"}) == "done\n\n[exit 0]"
    until(lambda: runs(long) == [])


def test_a_flood_is_clipped_and_one_without_end_is_ended(box: Box) -> None:
    said = bash(box, {"command": "seq 1 200000"})
    assert len(said) < box.most_chars + 200 and "print less" in said
    assert said.startswith("1\n2\n") and "200000\n\n[exit 0]" in said
    assert f"ended after {MOST_PRINTED >> 20} MB" in bash(box, {"command": "cat /dev/zero"})


def test_what_is_not_let_through_does_not_run(tmp_path: Path) -> None:
    top = checkout(tmp_path)
    box = box_of(spec_of(top, Safety.AUTO_EDIT))
    with pytest.raises(Denied):
        bash(box, {"command": "rm notes.txt"})
    assert (top / "notes.txt").exists() and box.commands == 0
