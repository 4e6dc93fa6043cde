"""The tools for sessions: words and their turn, and what was said since a number, each line once."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from pancode.interfaces.client.client import RepeatedPost, ServerEvent, StreamCutError
from pancode.interfaces.mcp import session_tools, tools
from pancode.interfaces.mcp.protocol import CallProgress
from tests.fakes.api import FakeApi
from tests.fakes.node.clock import SeededIds

Json = dict[str, Any]
SHAPE: Json = {
    **{"session": "r-1", "state": "works", "reason": "", "run": "r-1", "node": "n", "agent": "builder"},
    **{"model": "m", "title": "t", "asks": None, "changed_at": "2026-01-01", "goes_on": False},
    "usage": {"cost_usd": "0.10"},
    "runtime": "native",
}
LINES: list[Json] = [
    {"type": "turn", "number": 1, "by": "ana", "text": "look"},
    {"type": "said", "text": "I "},
    {"type": "said", "text": "look."},
    {"type": "called", "tool": "bash", "command": "ls"},
    {"type": "turn_end", "number": 1, "stop": "end_turn", "why": ""},
    {"type": "turn", "number": 2, "by": "ben", "text": "and now?"},
    {"type": "said", "text": "Done."},
    {"type": "turn_end", "number": 2, "stop": "end_turn", "why": ""},
]
OUTPUT = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)


SAYS = "POST /v1/sessions/*/words"
LOST = {SAYS: StreamCutError("it went away")}


def session(cut: int, *states: str, output: bytes = OUTPUT) -> FakeApi:
    """One session whose output comes in pieces of `cut` bytes; `states` are told one after the other."""
    left = [*states, "waits for you"]

    def shape(path: str, query: object) -> Json:
        return {**SHAPE, "state": left.pop(0) if len(left) > 1 else left[0]}

    def stream(path: str, query: Json) -> Iterator[ServerEvent]:
        begin = int((query["since"] or "r-1:0").partition(":")[2])
        for at in range(begin, len(output), cut):
            piece = output[at : at + cut]
            b64 = base64.b64encode(piece).decode()
            yield ServerEvent("log", {"run": "r-1", "attempt": "1.1", "next": at + len(piece), "b64": b64})
        yield ServerEvent("session", SHAPE)

    return FakeApi(
        {
            "GET /v1/sessions": lambda path, query: {"sessions": [shape(path, query)]},
            "GET /v1/sessions/*/stream": stream,
            "GET /v1/sessions/*": shape,
            SAYS: {"run": "r-1", "how": "sent", "warnings": []},
        }
    )


IDS = SeededIds()
WORDS = defaultdict[str, RepeatedPost](lambda: RepeatedPost(lambda: IDS.token(4)))


def called(client: FakeApi, name: str, *, fails: bool = False, **given: Any) -> Any:
    progress = CallProgress(lambda sent: None)
    told = tools.call_tool(lambda works: client, WORDS, name, given, "me (test)", progress)
    assert told["isError"] is fails, told
    return told["structuredContent"]


@pytest.mark.parametrize("cut", [1, 7, 65_536])
@pytest.mark.parametrize("most", [1, 60, 20_000])
def test_all_that_was_said_is_read_once_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, cut: int, most: int
) -> None:
    monkeypatch.setattr(session_tools, "READ_BYTES", most)
    client, told = session(cut), list[Json]()
    answer = called(client, "session_read", run="r-1")
    told += answer["told"]
    while answer["more"]:
        answer = called(client, "session_read", run="r-1", since=answer["since"])
        told += answer["told"]
    assert "".join(one.get("agent", "") for one in told) == "I look.Done."
    assert [one["person"] for one in told if "person" in one] == ["ana", "ben"]
    assert {"call": "bash", "about": "ls"} in told and answer["since"] == f"r-1:{len(OUTPUT)}"
    assert called(client, "session_read", run="r-1", since=answer["since"])["told"] == []


@pytest.mark.parametrize("cut", [1, 7, 65_536])
def test_a_line_that_is_too_long_is_left_out_whole_and_the_next_one_is_read(
    monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr(session_tools, "MOST_LINE", 400)
    output = b"x" * 500 + OUTPUT[:20] + b"\n" + OUTPUT
    client = session(cut, output=output)
    answer = called(client, "session_read", run="r-1")
    assert answer["told"][0]["person"] == "ana" and answer["since"] == f"r-1:{len(output)}"


@pytest.mark.parametrize(("runtime", "person"), [("native", True), ("opencode", True), ("shell", False)])
def test_a_line_of_another_program_is_nobodys_words(
    monkeypatch: pytest.MonkeyPatch, runtime: str, person: bool
) -> None:
    monkeypatch.setitem(SHAPE, "runtime", runtime)
    answer = called(session(9_999, "rests"), "session_read", run="r-1")
    assert any("person" in one for one in answer["told"]) is person
    assert person or "I look." not in json.dumps(answer["told"][1:]), "all of it is text of one program"
    assert "look" in json.dumps(answer["told"])


def test_words_are_waited_for_with_their_turn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_tools, "LOOK_S", 0.0)
    client = session(9, "works", "works")
    answer = called(client, "say", run="last", text="and now?", seconds=5)
    assert client.posted == [("/v1/sessions/last/words", {"by": "me (test)", "text": "and now?"})]
    assert (answer["state"], answer["since"]) == ("waits for you", f"r-1:{len(OUTPUT)}")
    assert [one.get("agent") for one in answer["turn"]] == [None, "Done.", None]
    assert answer["untrusted"]


def test_words_are_not_waited_for_unless_asked() -> None:
    answer = called(session(9, "works"), "say", run="r-1", text="go")
    assert answer["state"] == "works" and "turn" not in answer and "session_read" in answer["next"]


def test_words_are_said_under_the_key_that_comes_with_them() -> None:
    client = session(9)
    for _ in range(2):
        called(client, "say", run="r-1", text="go", key="k-1")
    assert client.keys == ["k-1", "k-1"], "the coordinator takes them once"


def test_words_whose_answer_was_lost_go_under_their_key_again_and_later_ones_under_another() -> None:
    client = session(9)
    answers, client.answers = client.answers, LOST
    called(client, "say", run="r-1", text="go", fails=True)
    client.answers = answers
    for _ in range(2):
        called(client, "say", run="r-1", text="go")
    lost, again, later = client.keys
    assert lost == again != later


def test_the_same_words_for_another_session_go_to_that_one_though_an_answer_was_lost() -> None:
    client = session(9)
    answers, client.answers = client.answers, LOST
    called(client, "say", run="r-1", text="yes", fails=True)
    client.answers = answers
    called(client, "say", run="r-2", text="yes")
    assert [path for path, _ in client.posted] == ["/v1/sessions/r-1/words", "/v1/sessions/r-2/words"]
    lost, other = client.keys
    assert lost != other


def test_the_list_has_states_and_costs_and_no_command_by_which_a_user_says_yes() -> None:
    client = session(9, "asks")
    SHAPE["asks"] = {"run": "r-1", "words": "rm x", "command": "pancode approve r-1"}
    try:
        (one,) = called(client, "sessions")["sessions"]
    finally:
        SHAPE["asks"] = None
    assert (one["state"], one["cost_usd"], one["asks"]) == ("asks", "0.10", {"run": "r-1", "words": "rm x"})
