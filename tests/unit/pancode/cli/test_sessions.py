"""The stream of a session as a person sees it, and what is done with each line that is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from pancode.cli.face import Face
from pancode.cli.sessions.stream import SessionReader, Turn
from pancode.cli.sessions.talk import ChatLoop
from pancode.client import Client

LINES = (
    {"type": "session", "session": "s", "version": "1"},
    {"type": "turn", "number": 1, "words": 0, "by": "ana", "text": "why?", "at": 1},
    {"type": "said", "text": "I look."},
    {"type": "called", "id": "1", "tool": "bash", "command": "make"},
    {"type": "ran", "id": "1", "tool": "bash", "ok": True},
    {"type": "heard", "number": 1, "by": "ben", "text": "and\x1b[2J that"},
    {"type": "said", "text": "Because "},
    {"type": "said", "text": "of this."},
    {"type": "turn_end", "number": 1, "stop": "end_turn", "why": "", "at": 2},
    {"type": "turn", "number": 2, "words": 2, "by": "ana", "text": "stop", "at": 3},
    {"type": "turn_end", "number": 2, "stop": "cancelled", "why": "by ana", "at": 4},
    {"type": "rests", "why": "asked"},
    {"type": "final", "status": "done", "result": "Because of this."},
)
DATA = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)


def read(*pieces: bytes, mine: tuple[str, ...] = ()) -> tuple[str, list[Turn]]:
    shown: list[str] = []
    turns: list[Turn] = []
    reader = SessionReader(shown.append, turns.append)
    reader.mine += mine
    for piece in pieces:
        reader.feed("r-1", "1.1", piece, "native")
    reader.end()
    return "".join(shown), turns


def test_turns_are_shown_with_who_said_what_and_have_their_answers() -> None:
    shown, turns = read(DATA)
    assert shown.splitlines()[0] == "ana: why?"
    assert "> bash make" in shown and "I look." in shown and "Because of this.\n" in shown
    assert "ben: and" in shown and "\x1b" not in shown
    assert "[turn 2 ended: cancelled: by ana]" in shown and "[it rests: asked" in shown
    assert [(one.number, one.stop, one.answer) for one in turns] == [
        (1, "end_turn", "Because of this."),
        (2, "cancelled", ""),
    ]
    assert turns[0].words == {0, 1} and turns[0].has("r-1", 1) and not turns[1].has("r-1", 1)
    assert not turns[0].has("r-0", 7), "that run was not read"


def test_what_came_too_late_for_one_sitting_begins_the_next() -> None:
    turns: list[Turn] = []
    reader = SessionReader(lambda text: None, turns.append)
    reader.feed("r-1", "1.1", DATA, "native")
    reader.feed("r-2", "1.1", DATA, "native")
    assert [one.has("r-1", 7) for one in turns] == [False, False, True, False]


def test_it_is_the_same_however_the_bytes_are_cut() -> None:
    whole = read(DATA)[0]
    assert read(*(DATA[at : at + 1] for at in range(len(DATA))))[0] == whole


def test_what_was_typed_here_stands_here_already() -> None:
    shown, _ = read(DATA, mine=("why?",))
    assert "ana: why?" not in shown and "ana: stop" in shown


class Asked:
    """A coordinator that notes what is posted."""

    place = Path("/nowhere")

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.posts.append((path, {name: value for name, value in body.items() if name != "by"}))
        return {"run": "r-1", "number": 1, "warnings": []}


def asks(kind: str, call: int | None) -> dict[str, Any]:
    words: dict[str, Any] = {"words": "git push", "choices": [], "command": "x"}
    asked = {"run": "r-1", "kind": kind, "call": call, **words}
    return {"session": "r-1", "run": "r-1", "state": "asks", "reason": "", "waiting": 0, "asks": asked}


def typed(shape: dict[str, Any], *lines: str) -> list[tuple[str, dict[str, Any]]]:
    client = Asked()
    loop = ChatLoop(Face(as_json=False), cast("Client", client), "r-1")
    loop._told_state(shape)
    for line in lines:
        assert not loop._said(line, waited=True)
    return client.posts


def test_an_answer_names_the_question_that_was_shown() -> None:
    call = asks("call", 3)
    assert typed(call, "y") == [("/v1/runs/r-1/approve", {"call": 3, "scope": "once"})]
    assert typed(call, "a") == [("/v1/runs/r-1/approve", {"call": 3, "scope": "run"})]
    assert typed(call, "n use a branch") == [("/v1/runs/r-1/deny", {"call": 3, "text": "use a branch"})]
    assert typed(call, "yes but later") == [("/v1/sessions/r-1/words", {"text": "yes but later"})]
    assert typed(asks("question", None), "2") == [("/v1/runs/r-1/answer", {"text": "2"})]
    assert typed(asks("dispatch", None), "y") == [("/v1/runs/r-1/approve", {"scope": "once"})]


def test_words_before_a_question_are_words_and_commands_are_none() -> None:
    calm = {**asks("call", 3), "asks": None, "state": "works"}
    assert typed(calm, "y") == [("/v1/sessions/r-1/words", {"text": "y"})]
    assert typed(calm, "/cancel", "/rest", "/end", "/nothing", "") == [
        ("/v1/sessions/r-1/turn", {"what": "cancel"}),
        ("/v1/sessions/r-1/turn", {"what": "rest"}),
        ("/v1/sessions/r-1/end", {}),
    ]
    assert typed(calm, "/etc/hosts is wrong")[0][1] == {"text": "/etc/hosts is wrong"}
