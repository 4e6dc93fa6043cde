"""read, write and edit: what they do, what they say, and what they never do."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.native.judge import Denied
from node_agent.native.places import NotFound, Outside
from node_agent.native.tools.files import Box, Failed, edit, read, write
from node_agent.wire.policy import PathAccess, PathRule, Rules, Safety
from tests.unit.node_agent.native.tree_of import box_of, checkout, spec_of

RULES = Rules(
    paths=(
        PathRule(pattern="secrets/", access=PathAccess.NONE, reason="not yours"),
        PathRule(pattern="notes.txt", access=PathAccess.READ),
    )
)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return checkout(tmp_path)


@pytest.fixture
def box(top: Path) -> Box:
    return box_of(spec_of(top))


def test_read_gives_a_file_whole_or_the_lines_that_are_asked_for(box: Box) -> None:
    assert read(box, {"path": "notes.txt"}) == "alpha\nbeta\ngamma\n"
    assert read(box, {"path": "notes.txt", "start": 2, "lines": 1}) == "[lines 2 to 2 of 3]\nbeta\n"
    with pytest.raises(Failed, match="has 3 lines"):
        read(box, {"path": "notes.txt", "start": 4})


def test_what_is_too_long_is_clipped_and_says_so(box: Box, top: Path) -> None:
    (top / "long").write_text("x" * 200_000)
    said = read(box, {"path": "long"})
    assert len(said) < 5_200 and "195001 characters left out; read fewer lines" in said


def test_a_binary_file_and_a_folder_are_named_as_such(box: Box, top: Path) -> None:
    (top / "bin").write_bytes(b"\0\1" * 50)
    assert read(box, {"path": "bin"}) == "[bin is a binary file of 100 bytes; it is not shown]"
    with pytest.raises(Failed, match="ls to"):
        read(box, {"path": "src"})


@pytest.mark.parametrize(
    "given", [{}, {"path": 3}, {"path": "notes.txt", "start": 0}, {"path": "a", "lines": True}]
)
def test_wrong_arguments_are_told(box: Box, given: dict) -> None:
    with pytest.raises(Failed, match="the argument"):
        read(box, given)


def test_write_makes_and_replaces_and_is_remembered(box: Box, top: Path) -> None:
    assert write(box, {"path": "new/x.txt", "content": "a\n"}) == "new/x.txt was created: 2 bytes, 1 lines"
    assert "was written" in write(box, {"path": "new/x.txt", "content": "b"})
    assert (top / "new/x.txt").read_text() == "b" and list(box.changed) == ["new/x.txt"]


def test_edit_needs_one_place_and_helps_to_find_it(box: Box, top: Path) -> None:
    edit(box, {"path": "notes.txt", "old": "beta", "new": "BETA"})
    assert (top / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    with pytest.raises(Failed, match="gamma"):
        edit(box, {"path": "notes.txt", "old": "gamna\n", "new": "x"})
    with pytest.raises(Failed, match="old occurs 4 times"):
        edit(box, {"path": "notes.txt", "old": "a", "new": "x"})
    assert edit(box, {"path": "notes.txt", "old": "a", "new": "x", "all": True}).endswith("4 places")


def test_edit_keeps_line_ends_and_bytes_that_are_no_text(box: Box, top: Path) -> None:
    (top / "odd").write_bytes(b"one\r\ntwo\r\n\xff\xfe\r\n")
    edit(box, {"path": "odd", "old": "one\ntwo", "new": "1\n2"})
    assert (top / "odd").read_bytes() == b"1\r\n2\r\n\xff\xfe\r\n"


@pytest.mark.parametrize("path", ["../out/diary", "out-link", "out-folder/diary", "absolute", "/etc/passwd"])
def test_nothing_outside_is_read_or_changed(box: Box, path: str) -> None:
    for tool, given in ((read, {}), (write, {"content": "x"}), (edit, {"old": "w", "new": "x"})):
        with pytest.raises(Outside):
            tool(box, {"path": path, **given})


def test_a_rule_holds_by_whichever_name(top: Path) -> None:
    box = box_of(spec_of(top, rules=RULES))
    for path in ("secrets/key", "to-secret", "./src/../secrets/key"):
        with pytest.raises(Denied, match="not yours"):
            read(box, {"path": path})
    assert read(box, {"path": "notes.txt"})
    for tool, given in ((write, {"content": "x"}), (edit, {"old": "beta", "new": "x"})):
        with pytest.raises(Denied, match="rule read"):
            tool(box, {"path": "notes.txt", **given})
    with pytest.raises(Denied):
        write(box, {"path": "secrets/new", "content": "x"})
    assert not (top / "secrets/new").exists() and (top / "notes.txt").read_text().startswith("alpha")


@pytest.mark.parametrize("path", [".git/hooks/post-commit", ".git/config", "src/.git/config"])
def test_git_s_own_files_are_never_written(box: Box, top: Path, path: str) -> None:
    with pytest.raises(Denied, match="git_destructive"):
        write(box, {"path": path, "content": "x"})
    assert not (top / ".git/hooks/post-commit").exists()


def test_a_run_that_only_looks_changes_nothing(top: Path) -> None:
    box = box_of(spec_of(top, Safety.SUGGEST))
    assert read(box, {"path": "notes.txt"})
    for tool, given in ((write, {"content": "x"}), (edit, {"old": "beta", "new": "x"})):
        with pytest.raises(Denied, match="changes no files"):
            tool(box, {"path": "notes.txt", **given})
    with pytest.raises(Denied):
        write(box, {"path": "new", "content": "x"})


def test_what_is_not_there_is_said(box: Box) -> None:
    with pytest.raises(NotFound, match="gone"):
        read(box, {"path": "gone"})
    with pytest.raises(Failed, match="not a directory"):
        write(box, {"path": "notes.txt/x", "content": ""})
    with pytest.raises(Failed, match="symlink"):
        write(box, {"path": "nowhere", "content": ""})
