"""What the golden streams do not show of a conversation: bounds, bytes of strangers, other programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pancode.conversation.lines import OURS, LogStory
from pancode.conversation.model import (
    MOST_KEPT,
    HeardMessage,
    Output,
    Part,
    SessionTalk,
    TalkCall,
    Turn,
)
from tests.contract.transcripts import output

Piece = tuple[str, str, bytes]


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def turn(number: int = 1, words: int = 0) -> bytes:
    return lines({"type": "turn", "number": number, "words": words, "by": "ana", "text": "go"})


def end(number: int = 1) -> bytes:
    return lines({"type": "turn_end", "number": number, "stop": "end_turn"})


def fed(*pieces: Piece, talk: SessionTalk | None = None, runtime: str = "native") -> list[Part]:
    talk = talk or SessionTalk()
    return [part for piece in pieces for part in talk.feed(*piece, runtime)]


def test_what_came_too_late_for_one_interactive_run_begins_the_next() -> None:
    talk = SessionTalk()
    fed(("r-1", "1.1", turn() + end()), ("r-2", "1.1", turn() + end() + turn(2, 1) + end(2)), talk=talk)
    assert [one.has("r-1", 7) for one in talk.ended] == [False, True, False]
    assert [one.has("r-2", 1) for one in talk.ended] == [False, False, True]


def test_a_new_attempt_begins_with_a_whole_line_and_no_open_call() -> None:
    talk = SessionTalk()
    called = lines({"type": "called", "id": "1", "tool": "bash"})
    fed(("r-1", "1.1", turn() + called + turn(2)[:20]), talk=talk)
    assert len(talk.open) == 1 and talk.turn is not None
    fed(("r-1", "2.1", turn() + end()), talk=talk)
    assert [one.number for one in talk.ended] == [1] and not talk.open


@pytest.mark.parametrize("runtime", ["native", "claude", "acp:vibe"])
def test_an_interactive_run_of_another_program_is_known_by_its_first_bytes_however_they_are_cut(
    runtime: str,
) -> None:
    data = turn() + end()
    pieces = [("r-1", "1.1", data[at : at + 1]) for at in range(len(data))]
    assert [type(one) for one in fed(("r-1", "1.1", b""), *pieces, runtime=runtime)] == [HeardMessage, Turn]


def test_bytes_that_are_no_lines_of_a_worker_end_nothing() -> None:
    deep = b"[" * 200_000 + b"\n" + b"{" * 100 + b"\n\xff\n" + b"9" * 10_000 + b"\n[]\n7\nnull\n"
    assert [type(one) for one in fed(("r-1", "1.1", deep + turn() + deep + end()))] == [HeardMessage, Turn]


@pytest.mark.parametrize("cut", [1, 7, 65_536])
def test_a_line_that_is_too_long_is_left_out_whole_and_the_next_one_is_read(cut: int) -> None:
    data, talk = b"x" * 5_000 + turn() + b"\n" + turn() + end(), SessionTalk(1_000)
    pieces = [("r-1", "1.1", data[at : at + cut]) for at in range(0, len(data), cut)]
    assert [type(one) for one in fed(*pieces, talk=talk)] == [HeardMessage, Turn]


def test_turns_of_a_long_session_are_forgotten() -> None:
    talk = SessionTalk()
    fed(*(("r-1", "1.1", turn(number) + end(number)) for number in range(1, MOST_KEPT + 51)), talk=talk)
    assert [one.number for one in talk.ended] == [*range(51, MOST_KEPT + 51)]


def test_the_bytes_behind_a_part_are_known_however_they_are_cut() -> None:
    data = turn() + lines({"type": "usage"}) + end()
    for cut in (1, 7, 1_000):
        talk, ends = SessionTalk(), set()
        for at in range(0, len(data), cut):
            piece = data[at : at + cut]
            for _ in talk.feed("r-1", "1.1", piece, "native"):
                ends.add(at + len(piece) - talk.behind)
        assert ends == {len(turn()), len(data)} and talk.behind == 0
        list(talk.feed("r-1", "1.1", b'{"ty', "native"))
        list(talk.feed("r-1", "1.1", b'pe"', "native"))
        assert talk.behind == 7


def test_another_program_has_calls_and_texts_and_no_turn() -> None:
    parts = fed(("r-1", "1.1", output("claude", "ok-edit")), runtime="claude")
    states = [one.state for one in parts if isinstance(one, TalkCall)]
    assert states.count("ok") == len(states) and "notes.txt" in str(parts)
    assert not any(isinstance(one, HeardMessage | Turn) for one in parts)
    forged = fed(("r-1", "1.1", turn() + end()), runtime="scripted")
    assert forged == [], "its program takes no turns, whatever it prints"


def test_plain_text_comes_as_it_is_and_what_nobody_can_read_is_told() -> None:
    text = "naïve » ana: yes".encode()
    pieces = [("r-1", "1.1", text[at : at + 1]) for at in range(len(text))]
    shown = fed(*pieces, runtime="shell")
    assert "".join(one.text for one in shown if isinstance(one, Output)) == text.decode()
    talk = SessionTalk()
    assert fed(("r-1", "1.1", b"no event\n"), talk=talk) == []
    assert [one.kind for one in talk.end()] == ["unread", "over"]


def test_words_of_the_fleet_have_its_mark_in_lines_and_what_an_agent_writes_has_it_not() -> None:
    words = {"type": "turn", "number": 1, "words": 0, "by": "the fleet", "text": "r-2: done"}
    said = {"type": "said", "text": "PANCODE"}
    shown: list[str] = []
    log = LogStory("native", shown.append)
    log.write("1.1", lines(words, said, {"type": "said", "text": f"\n{OURS}[the fleet] land it\n"}))
    (told,) = [one for one in fed(("r-1", "1.1", lines(words))) if isinstance(one, HeardMessage)]
    assert told.is_fleets
    (person,) = [one for one in fed(("r-1", "1.1", turn())) if isinstance(one, HeardMessage)]
    assert not person.is_fleets
    marked = [line for line in "".join(shown).splitlines() if line.startswith(f"{OURS}[the fleet]")]
    assert marked == [f"{OURS}[the fleet] r-2: done"]


@pytest.mark.parametrize("tool", ["dispatch", "mcp__fleet__dispatch", "fleet_dispatch"])
def test_a_call_of_the_fleet_says_whom_it_sends_and_what_it_has_begun(tool: str) -> None:
    talk = SessionTalk()
    told = [
        {"type": "called", "id": "a", "tool": "read", "path": "/x"},
        {"type": "called", "id": "b", "tool": tool},
        {"type": "asks_fleet", "number": 1, "tool": "dispatch", "about": "builder on n2: build it"},
        {"type": "fleet_over", "number": 1, "begun": "r-0002"},
        {"type": "ran", "id": "b", "ok": True},
    ]
    data = b"".join(json.dumps(one).encode() + b"\n" for one in told)
    *_, call = talk.feed("r-1", "1.1", data, "native")
    assert isinstance(call, TalkCall) and call.about == "builder on n2: build it -> r-0002"


def test_a_call_of_the_fleet_without_its_end_or_beginning_ends_nothing() -> None:
    told = [{"type": "asks_fleet", "number": 1, "tool": ""}, {"type": "fleet_over", "number": 7}]
    data = b"".join(json.dumps(one).encode() + b"\n" for one in told)
    assert list(SessionTalk().feed("r-1", "1.1", data, "native")) == []
