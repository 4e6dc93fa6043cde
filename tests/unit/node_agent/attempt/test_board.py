"""The board as an attempt writes it: which files are values, which are not, and that no link is followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.attempt.board import FOLDER, MOST_BYTES, MOST_TOGETHER, MOST_WRITTEN, path_of, written
from node_agent.wire.order import BoardEntry
from node_agent.workspace.folders import AttemptFolders, is_left_out, lay_board, take_board

PORT = BoardEntry(namespace="plan", key="port", value="8080")


def never(name: str) -> bool:
    return False


def test_what_is_new_or_another_is_written_and_what_was_laid_is_not() -> None:
    found = {"plan/port": b"8080", "plan/host": b"a\n'b' \"$(x)\"", "plan/key": b"hunter2"}
    taken, told = written(found, (PORT,), lambda text: text.replace("hunter2", "***"))
    assert [(one["key"], one["value"]) for one in taken] == [("host", "a\n'b' \"$(x)\""), ("key", "***")]
    assert told == []
    assert written({"plan/port": b"9090"}, (PORT,), str)[0][0]["value"] == "9090"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("plan/large", b"x" * (MOST_BYTES + 1), "16 KB"),
        ("plan/binary", b"\xff\xfe", "no text"),
        ("plan/.hidden", b"x", "NAMESPACE/KEY"),
        ("pl an/x", b"x", "NAMESPACE/KEY"),
    ],
)
def test_what_is_no_value_is_told(name: str, data: bytes, why: str) -> None:
    taken, (told,) = written({name: data}, (), str)
    assert taken == [] and why in told


def test_an_attempt_writes_so_much_and_no_more() -> None:
    taken, told = written({f"n/{number:03}": b"x" for number in range(200)}, (), str)
    assert len(taken) == MOST_WRITTEN and len(told) == 20
    taken, told = written({f"n/{number}": b"x" * MOST_BYTES for number in range(4)}, (), str)
    assert sum(len(one["value"]) for one in taken) <= MOST_TOGETHER and len(told) == 2


def places(folder: Path) -> AttemptFolders:
    found = AttemptFolders(folder)
    found.tree.mkdir(parents=True)
    return found


def test_it_lies_in_the_tree_and_is_taken_out_once(tmp_path: Path) -> None:
    found = places(tmp_path)
    for _ in range(2):
        lay_board(found.tree, {path_of(PORT): b"8080"})
    (found.tree / FOLDER / "plan" / "host").write_text("gpubox")
    (found.tree / FOLDER / "plan" / "link").symlink_to("/etc/passwd")
    (found.tree / FOLDER / "elsewhere").symlink_to("/etc")
    for _ in range(2):
        assert take_board(found, never) == {"plan/host": b"gpubox", "plan/port": b"8080"}
    assert not (found.tree / ".pancode").exists()


def test_one_of_the_repository_stays_and_a_link_is_no_folder(tmp_path: Path) -> None:
    found = places(tmp_path / "a")
    lay_board(found.tree, {path_of(PORT): b"8080"})
    assert take_board(found, lambda name: True) == {} and (found.tree / FOLDER).is_dir()
    other = places(tmp_path / "b")
    (other.tree / ".pancode").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        lay_board(other.tree, {path_of(PORT): b"8080"})
    assert take_board(other, never) == {}


def test_a_board_that_its_agent_closed_is_taken_and_one_that_stays_is_left_out(tmp_path: Path) -> None:
    closed, stays = places(tmp_path / "a"), places(tmp_path / "b")
    for found in (closed, stays):
        lay_board(found.tree, {path_of(PORT): b"8080"})
    for folder in (closed.tree / FOLDER, (closed.tree / FOLDER).parent):
        folder.chmod(0o500)
    assert take_board(closed, never) == {"plan/port": b"8080"} and not (closed.tree / ".pancode").exists()
    assert not is_left_out(stays, b".pancode/board/plan/port"), "before it is taken"
    assert take_board(stays, lambda name: True) == {}
    assert is_left_out(stays, b".pancode/board/plan/port") and not is_left_out(stays, b".pancode/boards/a")
