"""Whose change is whose: the rule on trees of any shape, and the record that it works from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.git import list_parents
from node_agent.workspace.git import WorkspaceFailure
from node_agent.workspace.result import (
    Baseline,
    Entry,
    WithoutSetUp,
    keep_baseline,
    read_baseline,
    without_set_up,
)

Tree = dict[bytes, Entry]
ONE, TWO, THREE = (("100644", digit * 40) for digit in "123")


def is_tree(files: Tree) -> bool:
    """No path is both a file and a folder."""
    return not any(files.keys() & set(list_parents(path)) for path in files)


TREES = st.dictionaries(
    st.sampled_from([b"a", b"a/b", b"a/b/c", b"d", b"d/e", b"f"]), st.sampled_from([ONE, TWO]), max_size=4
).filter(is_tree)


def between(snapshot: Tree, left: Tree) -> Baseline:
    changed = {path for path in snapshot | left if snapshot.get(path) != left.get(path)}
    return Baseline(None, {path: (snapshot.get(path), left.get(path)) for path in changed})


def result(files: Tree, back: WithoutSetUp) -> Tree:
    both: dict[bytes, Entry | None] = {**files, **back.entries}
    return {path: entry for path, entry in both.items() if entry is not None}


@given(TREES, TREES, TREES)
def test_the_result_is_a_tree_with_every_change_of_the_agent(snapshot: Tree, left: Tree, files: Tree) -> None:
    made = result(files, without_set_up(between(snapshot, left), files))
    assert is_tree(made)
    for path in left.keys() | files.keys():
        if left.get(path) != files.get(path):
            assert made.get(path) == files.get(path)


@given(TREES, TREES)
def test_an_agent_that_changed_nothing_leaves_the_snapshot(snapshot: Tree, left: Tree) -> None:
    back = without_set_up(between(snapshot, left), left)
    assert result(left, back) == snapshot and back.blocked == ()


@given(TREES, TREES)
def test_without_changes_of_set_up_the_files_are_the_result(snapshot: Tree, files: Tree) -> None:
    assert result(files, without_set_up(between(snapshot, snapshot), files)) == files


def test_a_file_that_cannot_go_back_is_named() -> None:
    """Set-up made a folder of the file `a`; the agent works in the folder."""
    snapshot, left = {b"a": ONE}, {b"a/env": TWO}
    back = without_set_up(between(snapshot, left), left | {b"a/mine": THREE})
    assert back.blocked == (b"a",) and back.entries == {b"a/env": None}


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    taken = Baseline("c" * 40, {b"caf\xe9\n": (ONE, None), b"new": (None, TWO)}, frozenset({b"vendor/"}))
    name = keep_baseline(taken, tmp_path / "b.json")
    assert read_baseline(tmp_path / "b.json", name) == taken
    assert keep_baseline(taken, tmp_path / "b.json") == name


def test_a_record_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    name = keep_baseline(Baseline(), tmp_path / "b.json")
    other = keep_baseline(Baseline("c" * 40), tmp_path / "b.json")
    assert other != name
    with pytest.raises(WorkspaceFailure, match="files was modified"):
        read_baseline(tmp_path / "b.json", name)
    with pytest.raises(WorkspaceFailure):
        read_baseline(tmp_path / "absent.json", name)
