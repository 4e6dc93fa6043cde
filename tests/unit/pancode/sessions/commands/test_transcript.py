"""The conversation as blocks, and what `@` and `/` offer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pancode.conversation.model import SessionTalk
from pancode.sessions.commands.screen.blocks import widget_of
from pancode.sessions.commands.screen.field import TypedHistory, suggest_completion
from pancode.sessions.commands.screen.transcript import (
    MOST_OUTPUT,
    AnswerBlock,
    CallsBlock,
    OutputBlock,
    PanelBlock,
    TalkStory,
    TellBlock,
    UserBlock,
    plain_of,
)


def take(talk: TalkStory, reader: SessionTalk, data: bytes, runtime: str = "native") -> None:
    for part in reader.feed("r-1", "1.1", data, runtime):
        talk.take(part)


def read(*events: dict[str, Any], runtime: str = "native", cut: int = 10_000) -> TalkStory:
    talk = TalkStory()
    reader = SessionTalk()
    data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    for at in range(0, len(data), cut):
        take(talk, reader, data[at : at + cut], runtime)
    return talk


EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "turn", "number": 1, "words": 0, "by": "ana", "text": "why?", "at": 1_790_000_000_000},
    {"type": "said", "text": "I look."},
    {"type": "called", "id": "1", "tool": "bash", "command": "make\n-j"},
    {"type": "ran", "id": "1", "ok": True},
    {"type": "called", "id": "2", "tool": "edit", "path": "/w/a.py"},
    {"type": "denied", "id": "2", "why": "a rule"},
    {"type": "heard", "number": 1, "by": "ben", "text": "and that"},
    {"type": "said", "text": "Because "},
    {"type": "said", "text": "of this."},
    {"type": "usage", "input": 1200, "output": 34},
    {"type": "turn_end", "number": 1, "stop": "cancelled", "why": "by ana"},
    {"type": "rests", "why": "idle"},
)


def test_words_that_are_typed_while_an_answer_streams_do_not_split_it() -> None:
    talk = TalkStory()
    reader = SessionTalk()

    def said(text: str) -> None:
        take(talk, reader, json.dumps({"type": "said", "text": text}).encode() + b"\n")

    said("```py\nx = __in")
    talk.sent("and that", "ana")
    talk.panel("/cost", "$1")
    said("it__(4)\n```")
    assert [one.text for one in talk.blocks if isinstance(one, AnswerBlock)] == [
        "```py\nx = __init__(4)\n```"
    ]


def test_the_blocks_of_a_conversation_however_its_bytes_are_cut() -> None:
    for cut in (1, 7, 10_000):
        talk = read(*EVENTS, cut=cut)
        assert [type(one) for one in talk.blocks] == [
            UserBlock,
            AnswerBlock,
            CallsBlock,
            UserBlock,
            AnswerBlock,
            TellBlock,
            TellBlock,
        ]
        assert plain_of(talk.blocks[2]) == "bash make -j\nedit /w/a.py: denied: a rule"
        assert plain_of(talk.blocks[4]) == "Because of this."
        assert [one.by for one in talk.blocks if isinstance(one, UserBlock)] == ["ana", "ben"]


def test_words_that_wait_stand_where_the_agent_got_them() -> None:
    talk = TalkStory()
    talk.sent("why?", "ana")
    assert isinstance(talk.blocks[0], UserBlock) and talk.blocks[0].is_sent
    take(talk, SessionTalk(), b"".join(json.dumps(one).encode() + b"\n" for one in EVENTS[:2]))
    assert [(type(one), one.text) for one in talk.blocks] == [(UserBlock, "why?"), (AnswerBlock, "I look.")]
    talk.sent("lost", "ana")
    talk.unsent("lost")
    assert len(talk.blocks) == 2


def test_hostile_lines_have_no_hidden_sign_and_end_nothing() -> None:
    evil = "\x1b[2J\u202e\x9b31m\u2028\x00\r\nx"
    kinds = ("said", "called", "ran", "denied", "heard", "turn", "turn_end", "rests", "noted", "usage")
    values: tuple[Any, ...] = ("1", None, [], {"a": 1}, 1e400, "\ud800")
    odd: list[dict[str, Any]] = [
        {"type": kind, "text": evil, "why": evil, "id": value, "tool": value, "command": evil, "diff": evil}
        for kind in kinds
        for value in values
    ]
    for runtime in ("native", "claude", "shell", "unknown"):
        shown = "\n".join(map(plain_of, read(*odd, runtime=runtime).blocks))
        assert not set(shown) & set("\x1b\u202e\x9b\u2028\x00\r"), runtime
        shown.encode()


def test_another_programs_output_is_no_answer_and_no_user() -> None:
    talk = read(*EVENTS, runtime="shell")
    assert {type(one) for one in talk.blocks} == {OutputBlock} and "ana" in talk.blocks[0].text


THINGS = [("r-1", "tidy the imports"), ("src/app.py", ""), ("docs/a.md", "")]


def test_what_is_offered() -> None:
    found = suggest_completion("look at @app", THINGS)
    assert found is not None and (found.start, [name for name, _ in found.words]) == (8, ["src/app.py"])
    named = suggest_completion("@tidy", THINGS)
    assert named is not None and named.words[0][0] == "r-1"
    assert suggest_completion("mail a@b", THINGS) is None and suggest_completion("@nothing", THINGS) is None
    commands = suggest_completion("/c", THINGS)
    offered = [name for name, _ in commands.words] if commands is not None else []
    known = ["/cancel", "/copy", "/context", "/compact", "/checkpoint", "/cost", "/cluster", "/config"]
    assert offered == known
    assert (
        suggest_completion("/cancel", THINGS) is None and suggest_completion("/etc/hosts is", THINGS) is None
    )


def test_what_was_typed_comes_back_and_so_does_the_draft() -> None:
    typed = TypedHistory()
    for text in ("one", "two", "two"):
        typed.add(text)
    assert [typed.move(-1, "dra"), typed.move(-1, "two"), typed.move(-1, "one")] == ["two", "one", None]
    assert [typed.move(1, "one"), typed.move(1, "two"), typed.move(1, "dra")] == ["two", "dra", None]


def test_a_block_of_output_has_a_bound_and_nothing_is_lost() -> None:
    talk, reader, lines = (
        TalkStory(),
        SessionTalk(),
        "".join(f"{number} {'x' * 70}\n" for number in range(2_000)),
    )
    data = (lines + "y" * 10 * MOST_OUTPUT).encode()
    for at in range(0, len(data), 7_777):
        take(talk, reader, data[at : at + 7_777], "shell")
    assert max(len(one.text) for one in talk.blocks) <= 3 * MOST_OUTPUT
    assert "".join(one.text for one in talk.blocks) == data.decode()
    assert len(talk.blocks) > 10


@pytest.mark.parametrize("at", [10**15, 10**40, -1, "soon", None, 1.5, [1]])
def test_a_time_that_is_none_ends_nothing(at: object) -> None:
    (block,) = read({**EVENTS[0], "at": at}).blocks
    assert isinstance(block, UserBlock) and block.at_ms == 0
    widget_of(block, "ana")


def test_the_words_of_a_user_are_as_they_were_said() -> None:
    assert read({**EVENTS[0], "text": "Task:\ndo it"}).blocks[0].text == "Task:\ndo it"


def test_words_of_the_fleet_stand_in_a_panel_of_its_own() -> None:
    told = read({"type": "turn", "number": 1, "words": 0, "by": "the fleet", "text": "r-2: done", "at": 1})
    (block,) = told.blocks
    assert isinstance(block, PanelBlock) and (block.title, block.text) == ("the fleet", "r-2: done")


def test_the_answer_to_words_of_the_fleet_stands_below_them() -> None:
    heard = {"type": "turn", "number": 2, "words": 1, "by": "the fleet", "text": "r-2: done", "at": 1}
    told = read({"type": "said", "text": "I wait."}, heard, {"type": "said", "text": "All is done."})
    assert [one.text for one in told.blocks] == ["I wait.", "r-2: done", "All is done."]
