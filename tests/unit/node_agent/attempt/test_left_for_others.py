"""What an attempt leaves for others: values of the board and a question to a user; no link is followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.left_for_others import (
    BOARD,
    MOST_QUESTION,
    MOST_TOGETHER,
    MOST_VALUE,
    MOST_WRITTEN,
    board_path,
    read_question,
    take_question,
    written_values,
)
from node_agent.attempt.verdict import Fault
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import BoardEntry, Gate, Workspace
from node_agent.workspace.folders import (
    AttemptFolders,
    holds_copied,
    is_left_out,
    lay_board,
    lay_copied,
    take_board,
)
from tests.fakes.node.host import Script
from tests.unit.node_agent.attempt.test_procedure import NAME, run

PORT = BoardEntry(namespace="plan", key="port", value="8080")


def never(name: str) -> bool:
    return False


def test_what_is_new_or_another_is_written_and_what_was_laid_is_not() -> None:
    found = {"plan/port": b"8080", "plan/host": b"a\n'b' \"$(x)\"", "plan/key": b"hunter2"}
    taken, told = written_values(found, (PORT,), lambda text: text.replace("hunter2", "***"))
    assert [(one["key"], one["value"]) for one in taken] == [("host", "a\n'b' \"$(x)\""), ("key", "***")]
    assert told == []
    assert written_values({"plan/port": b"9090"}, (PORT,), str)[0][0]["value"] == "9090"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("plan/large", b"x" * (MOST_VALUE + 1), "16 KB"),
        ("plan/binary", b"\xff\xfe", "not text"),
        ("plan/.hidden", b"x", "NAMESPACE/KEY"),
        ("pl an/x", b"x", "NAMESPACE/KEY"),
    ],
)
def test_what_is_no_value_is_told(name: str, data: bytes, why: str) -> None:
    taken, (told,) = written_values({name: data}, (), str)
    assert taken == [] and why in told


def test_an_attempt_writes_so_much_and_no_more() -> None:
    taken, told = written_values({f"n/{number:03}": b"x" for number in range(200)}, (), str)
    assert len(taken) == MOST_WRITTEN and len(told) == 20
    taken, told = written_values({f"n/{number}": b"x" * MOST_VALUE for number in range(4)}, (), str)
    assert sum(len(one["value"]) for one in taken) <= MOST_TOGETHER and len(told) == 2


def places(folder: Path) -> AttemptFolders:
    found = AttemptFolders(folder)
    found.tree.mkdir(parents=True)
    return found


def test_it_lies_in_the_tree_and_is_taken_out_once(tmp_path: Path) -> None:
    found = places(tmp_path)
    for _ in range(2):
        lay_board(found.tree, {board_path(PORT): b"8080"})
    (found.tree / BOARD / "plan" / "host").write_text("gpubox")
    (found.tree / BOARD / "plan" / "link").symlink_to("/etc/passwd")
    (found.tree / BOARD / "elsewhere").symlink_to("/etc")
    for _ in range(2):
        assert take_board(found, never) == {"plan/host": b"gpubox", "plan/port": b"8080"}
    assert not (found.tree / ".pancode").exists()


def test_one_of_the_repository_stays_and_a_link_is_no_folder(tmp_path: Path) -> None:
    found = places(tmp_path / "a")
    lay_board(found.tree, {board_path(PORT): b"8080"})
    assert take_board(found, lambda name: True) == {} and (found.tree / BOARD).is_dir()
    other = places(tmp_path / "b")
    (other.tree / ".pancode").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        lay_board(other.tree, {board_path(PORT): b"8080"})
    assert take_board(other, never) == {}


def test_a_board_that_its_agent_closed_is_taken_and_one_that_stays_is_left_out(tmp_path: Path) -> None:
    closed, stays = places(tmp_path / "a"), places(tmp_path / "b")
    for found in (closed, stays):
        lay_board(found.tree, {board_path(PORT): b"8080"})
    for folder in (closed.tree / BOARD, (closed.tree / BOARD).parent):
        folder.chmod(0o500)
    assert take_board(closed, never) == {"plan/port": b"8080"} and not (closed.tree / ".pancode").exists()
    assert not is_left_out(stays, b".pancode/board/plan/port"), "before it is taken"
    assert take_board(stays, lambda name: True) == {}
    assert is_left_out(stays, b".pancode/board/plan/port") and not is_left_out(stays, b".pancode/boards/a")


ASKS = json.dumps({"question": "Which port?", "choices": ["8080", "9090"]}).encode()


def plain(text: str) -> str:
    return text


def test_a_question_is_read_with_its_choices_or_without() -> None:
    assert read_question(ASKS).choices == ("8080", "9090")
    assert read_question(b'{"question": "why?"}').choices == ()


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (b"", "JSON"),
        (b"what now", "JSON"),
        (b"[]", "object"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 60_000, "JSON"),
        (b"{}", "question"),
        (b'{"question": ""}', "question"),
        (b'{"question": 7}', "question"),
        (json.dumps({"question": "x" * 2_001}).encode(), "question"),
        (b'{"question": "x", "choice": []}', "choice"),
        (json.dumps({"question": "x", "choices": ["a"] * 11}).encode(), "choices"),
        (b" " * (MOST_QUESTION + 1), "KB"),
    ],
)
def test_what_is_no_question_still_needs_a_user_and_says_why(left: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_question(left)
    fault, told = take_question(None, left, plain)
    assert fault is not None and fault.kind is FailureKind.NEEDS_USER and words in fault.reason
    assert told == {}


@pytest.mark.parametrize("kind", [FailureKind.WALL_LIMIT, FailureKind.STOPPED, FailureKind.GATE_MISSING])
def test_a_limit_or_a_stop_stands_whatever_is_asked(kind: FailureKind) -> None:
    fault = Fault(kind, "over")
    assert take_question(fault, ASKS, plain) == (fault, {})


def test_a_secret_in_a_question_is_taken_out() -> None:
    fault, told = take_question(None, ASKS, lambda text: text.replace("8080", "***"))
    assert told["question"]["choices"] == ["***", "9090"] and fault is not None


@pytest.mark.parametrize("kind", ["git", "none"])
def test_the_attempt_ends_blocked_before_its_gates_and_the_receipt_asks(kind: str) -> None:
    gates = (Gate(name="g", argv=("true",)),)
    job: dict[str, Any] = {"workspace": Workspace(kind="none")} if kind == "none" else {}
    claims = run(Script(question=ASKS), gates=gates, **job).claims[NAME]
    assert (claims.outcome, claims.failure) == (Outcome.BLOCKED, FailureKind.NEEDS_USER)
    assert claims.question is not None and claims.question.question == "Which port?"
    assert claims.reason == "it asks: Which port?" and claims.gates == ()
    assert (claims.commit is not None) == (kind == "git"), "what it did so far is kept"


def test_copies_of_ignored_files_are_written_before_the_agent_starts() -> None:
    stage = run(Script(), copied="sealed")
    assert stage.host.copied == {NAME: {".env.local": b"sealed"}}


def test_copies_follow_no_link_and_are_left_out_of_the_result(tmp_path: Path) -> None:
    found = places(tmp_path / "a")
    for _ in range(2):
        lay_copied(found, {".env.local": b"KEY=1\n", "config/site.key": b"\0"})
    assert (found.tree / "config" / "site.key").read_bytes() == b"\0"
    assert is_left_out(found, b".env.local") and is_left_out(found, b"config/site.key")
    assert not is_left_out(found, b"config/other.key")
    told = {name: holds_copied(found, name) for name in (b".env.local", b"config/", b"config", b"build/")}
    assert told == {b".env.local": True, b"config/": True, b"config": False, b"build/": False}
    lay_copied(found, {".env.other": b"KEY=1\n"})
    assert is_left_out(found, b".env.other") and not is_left_out(found, b"config/site.key")
    other = places(tmp_path / "b")
    (other.tree / "config").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        lay_copied(other, {"config/site.key": b"x"})
    assert not (tmp_path / "site.key").exists()
