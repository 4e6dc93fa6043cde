"""ls, find and grep: what they show, in which order, and what stays hidden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent.native.tools.files import Box, Failed, find, grep, ls
from node_agent.wire.policy import PathAccess, PathRule, Rules
from tests.unit.node_agent.native.tree_of import box_of, checkout, spec_of

HIDDEN = Rules(paths=(PathRule(pattern="secrets/", access=PathAccess.NONE),))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return box_of(spec_of(checkout(tmp_path), rules=HIDDEN))


def test_ls_shows_names_sizes_and_links_and_no_hidden_one(box: Box) -> None:
    said = ls(box, {}).splitlines()
    assert "notes.txt  17" in said and "src/" in said and "out-link -> ../out/diary" in said
    assert not [line for line in said if line.startswith("secrets")]
    assert ls(box, {"path": "src"}).splitlines() == ["a.py  21", "deep/"]
    with pytest.raises(Failed, match="read to show it"):
        ls(box, {"path": "notes.txt"})


def test_find_knows_patterns_of_paths(box: Box) -> None:
    assert find(box, {"pattern": "*.py"}).splitlines() == ["src/a.py", "src/deep/b.py"]
    assert find(box, {"pattern": "src/*.py"}) == "src/a.py"
    assert find(box, {"pattern": "*.py", "path": "src/deep"}) == "src/deep/b.py"
    assert find(box, {"pattern": "key"}) == "no file matches key"
    with pytest.raises(Failed, match="is not a valid pattern"):
        find(box, {"pattern": "../*"})


def test_grep_tells_file_and_line(box: Box) -> None:
    assert grep(box, {"pattern": "^print"}).splitlines() == [
        "src/a.py:2: print('a')",
        "src/deep/b.py:1: print('b')",
    ]
    assert grep(box, {"pattern": "a", "path": "notes.txt", "most": 1}).startswith(
        "notes.txt:1: alpha\n[the first 1"
    )
    assert grep(box, {"pattern": "print", "files": "src/deep/"}) == "src/deep/b.py:1: print('b')"
    assert grep(box, {"pattern": "the-key"}) == "nothing fits the-key"
    assert grep(box, {"pattern": "words-of-a-diary"}) == "nothing fits words-of-a-diary", (
        "no link is followed"
    )
    with pytest.raises(Failed, match="not a regular expression"):
        grep(box, {"pattern": "("})


def test_what_would_hold_up_a_backtracking_engine_does_not(box: Box) -> None:
    (Path(box.tree.top) / "trap").write_text("a" * 50_000)
    assert grep(box, {"pattern": "(a+)+$b", "path": "trap"}).startswith("nothing fits")


def test_a_pipe_does_not_stop_a_search_and_nothing_stays_open(box: Box) -> None:
    os.mkfifo(Path(box.tree.top) / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    assert "src/a.py" in find(box, {"pattern": "*.py"}) and grep(box, {"pattern": "alpha"})
    assert len(os.listdir("/proc/self/fd")) <= before  # what an earlier test left may be closed meanwhile
