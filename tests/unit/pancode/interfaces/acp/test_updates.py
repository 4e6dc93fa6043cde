"""What an editor sees of a session's output, however it is cut, and what of a prompt becomes words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pancode.conversation.model import Turn
from pancode.interfaces.acp.updates import (
    MOST_TITLE,
    UpdateReader,
    format_ending,
    make_permission_request,
    words_of,
)

Json = dict[str, Any]
FOLDER = "/home/ana/app"


def lines(*events: Json) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def read(data: bytes, reader: UpdateReader | None = None, run: str = "r-1", cut: int = 7) -> list[Json]:
    reader = reader or UpdateReader(FOLDER, "ana")
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    return [update for piece in pieces for update in reader.feed(run, "1.1", piece, "native")]


def turn(number: int = 1, words: int = 0, **more: Any) -> Json:
    return {"type": "turn", "number": number, "words": words, "by": "ana", "text": "do it", "at": 1, **more}


def test_a_turn_is_text_calls_and_their_ends() -> None:
    path = "/home/ops/.pancode-node/f-1/jobs/r-1.1.1/tree/src/a.py"
    updates = read(
        lines(
            turn(),
            {"type": "said", "text": "I look. "},
            {"type": "called", "id": "c", "tool": "edit", "path": path},
            {"type": "ran", "id": "c", "ok": True},
            {"type": "called", "id": "c", "tool": "bash", "command": "rm -rf /\u202e"},
            {"type": "denied", "id": "c", "tool": "bash", "why": "a rule forbids it"},
            {"type": "ran", "id": "never-called", "ok": True},
            {"type": "turn_end", "number": 1, "stop": "end_turn", "why": "", "at": 2},
        )
    )
    kinds = [one["sessionUpdate"] for one in updates]
    pair = ["tool_call", "tool_call_update"]
    assert kinds == ["user_message_chunk", "agent_message_chunk", *pair, *pair]
    edit, edited, shell, denied = updates[2:]
    assert edit["locations"] == [{"path": f"{FOLDER}/src/a.py"}] and edit["kind"] == "edit"
    assert edited == {**edited, "toolCallId": edit["toolCallId"], "status": "completed"}
    assert shell["toolCallId"] != edit["toolCallId"], "a program may use an id again"
    assert shell["title"] == "rm -rf /<U+202E>" and "locations" not in shell
    assert denied["status"] == "failed" and "forbids" in denied["content"][0]["content"]["text"]


def test_what_a_command_printed_is_in_its_update_as_text_that_cannot_leave_its_block() -> None:
    called = {"type": "called", "id": "c", "tool": "bash", "command": "make"}
    ran = {"type": "ran", "id": "c", "ok": False, "output": "3 failed\n```\n\x1b[2Jgone"}
    told = read(lines(turn(), called, ran))[-1]
    text = told["content"][0]["content"]["text"]
    assert text.startswith("````\n3 failed\n") and text.endswith("\n````") and "\x1b" not in text


def test_no_text_steers_a_terminal_or_hides_from_its_reader() -> None:
    evil = "\x1b]52;c;Y3VybCBl\x07 \u202egnp.exe"
    updates = read(
        lines(
            turn(by="ben", text=evil),
            {"type": "said", "text": evil},
            {"type": "noted", "text": evil},
            {"type": "retrying", "why": evil},
            {"type": "called", "id": "c", "tool": "bash", "command": "ls"},
            {"type": "denied", "id": "c", "tool": "bash", "why": evil},
        )
    )
    texts = [one["content"]["text"] for one in updates if "text" in one.get("content", ())]
    texts += [part["content"]["text"] for one in updates[-1:] for part in one["content"]]
    assert len(texts) == 5 and all("<U+001B>" in one and "<U+202E>" in one for one in texts)
    assert not any("\x1b" in one or "\u202e" in one for one in texts)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "", "relative.py", "/n/jobs/r-10.1.1/tree/a", "/n/jobs/r-1.1.1/tree/../../b"]
)
def test_a_file_outside_of_the_checkout_is_no_file_of_the_editor(path: str) -> None:
    (call,) = read(lines({"type": "called", "id": "c", "tool": "read", "path": path}))
    assert "locations" not in call


def test_words_of_this_editor_are_not_shown_twice_and_those_of_others_have_a_name() -> None:
    reader = UpdateReader(FOLDER, "ana")
    reader.mine |= {("r-1", 0), ("r-1", 2)}
    heard = {"type": "heard", "number": 2, "by": "ana", "text": "mine, too"}
    other = {"type": "heard", "number": 3, "by": "ben", "text": "hello"}
    shown = read(lines(turn(), heard, other), reader)
    assert [one["content"]["text"] for one in shown] == ["ben: hello"]
    ended = lines({"type": "turn_end", "number": 1, "stop": "lost"})
    assert read(ended, reader) == [] and [one.words for one in reader.talk.ended] == [{0, 2, 3}]


def test_words_that_came_too_late_open_the_next_run() -> None:
    reader = UpdateReader(FOLDER, "ana")
    reader.mine.add(("r-1", 4))
    read(lines(turn()), reader)
    assert read(lines(turn()), reader, run="r-2") == []
    turn_now = reader.talk.turn
    assert turn_now is not None and turn_now.has("r-1", 4) and not turn_now.has("r-3", 0)


@pytest.mark.parametrize(
    "data",
    [
        b"not json\n",
        b"[]\n{}\n7\nnull\n",
        b'{"type": "said", "text": 7}\n{"type": 3}\n',
        b'{"type": "turn_end", "number": 1}\n{"type": "heard", "number": 1, "text": "x"}\n',
        b'{"type": "turn_end"' + b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_event_of_a_worker_is_nothing(data: bytes) -> None:
    assert read(data, cut=1 << 20) == []


def test_a_prompt_is_words_with_the_names_of_files() -> None:
    blocks: list[Json] = [
        {"type": "text", "text": "repair "},
        {"type": "resource_link", "uri": f"file://{FOLDER}/src/my%20a.py", "name": "a.py"},
        {"type": "resource", "resource": {"uri": "file:///etc/hosts", "text": "127.0.0.1 localhost"}},
        {"type": "resource", "resource": {"uri": "file:///b.md", "text": "```\nx\n```"}},
        {"type": "resource_link", "uri": "https://a.example/b%20c", "name": "c"},
    ]
    said = words_of(blocks, FOLDER)
    assert said.startswith("repair @src/my a.py\n\n/etc/hosts:\n```\n127.0.0.1")
    assert said.endswith("\n\n/b.md:\n````\n```\nx\n```\n````\n@https://a.example/b%20c")


@pytest.mark.parametrize("block", [{"type": "image", "data": "x"}, None, 7, {"type": "text"}, {}])
def test_a_prompt_with_anything_else_is_refused(block: object) -> None:
    with pytest.raises(ValueError, match="contain text and files"):
        words_of([block], FOLDER)


def test_always_is_offered_for_a_command_alone_and_the_whole_command_is_shown() -> None:
    asks = {"run": "r-1", "kind": "call", "words": "wants to run:\n  curl x | sh", "call": 1}
    card = make_permission_request(asks, {"toolCallId": "r-1-3"})
    assert [one["kind"] for one in card["options"]] == ["allow_once", "allow_always", "reject_once"]
    assert card["toolCall"]["toolCallId"] == "r-1-3" and "curl x | sh" in json.dumps(card["toolCall"])
    always = make_permission_request({**asks, "whole": "every command of rule ask: curl"}, None)["options"][1]
    assert always["name"] == "Yes, in this run: every command of rule ask: curl"
    before = make_permission_request({**asks, "kind": "budget"}, None)
    assert [one["kind"] for one in before["options"]] == ["allow_once", "reject_once"]


@pytest.mark.parametrize("words", ["ls <!-- x; rm -rf ~ -->", "ls ``` x", "echo '`````'\n```", "plain"])
def test_the_whole_of_what_needs_a_yes_is_shown_as_it_is(words: str) -> None:
    whole = f"{words}   (a rule) " + "x" * MOST_TITLE
    asks = {"run": "r-1", "kind": "call", "words": whole, "call": 1}
    card = make_permission_request(asks, None)["toolCall"]
    opens, *body, closes = card["content"][0]["content"]["text"].split("\n")
    assert opens == closes and {*opens} == {"`"} and opens not in whole
    assert len(opens) >= 3 and "\n".join(body) == whole
    assert card["title"].endswith("...") and "\n" not in card["title"] and len(card["title"]) == MOST_TITLE


def test_a_call_is_told_with_text_that_every_parser_takes() -> None:
    path = b"/a\\ud800\\u202e" + b"b" * MOST_TITLE
    line = b'{"type": "called", "tool": "read", "path": "%s", "pattern": NaN, "command": [Infinity]}\n'
    (call,) = read(line % path)
    assert call["title"].startswith("read /a?<U+202E>bb") and call["title"].endswith("b...")
    assert len(call["title"]) == MOST_TITLE
    assert {name: text[:4] for name, text in call["rawInput"].items()} == {
        "tool": "read",
        "path": "/a?<",
    }
    json.dumps(call, allow_nan=False, ensure_ascii=False).encode()


def test_an_answer_that_changed_nothing_has_nothing_below_it() -> None:
    assert format_ending(Turn("r-1", 1), {"node": "n"}) == ""
    assert "pancode land r-1" in format_ending(Turn("r-1", 1, files={"a"}), {"node": "n"})


def test_words_of_the_fleet_are_told_as_its_own() -> None:
    (shown,) = read(lines(turn(by="the fleet", text="r-2: done")))
    assert shown["content"]["text"] == "[the fleet] r-2: done"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        *(("![x](https://evil)", "!\\[x](https://evil)"), ("see ![x][1]", "see !\\[x][1]")),
        *(("a![x", "a!\\[x"), ("vec![1, 2]; a![0] = 1", "vec![1, 2]; a![0] = 1"), ("[x](b)!", "[x](b)!")),
    ],
)  # fmt: skip
def test_no_picture_of_an_agents_words_is_fetched_by_the_editor(said: str, shown: str) -> None:
    (told,) = read(lines({"type": "said", "text": said}))
    assert told["content"]["text"] == shown


def test_what_a_call_is_given_hides_nothing() -> None:
    called = {"type": "called", "id": "c", "tool": "bash", "command": "rm -rf /\u202e\x1b[2J"}
    assert read(lines(turn(), called))[-1]["rawInput"]["command"] == "rm -rf /<U+202E><U+001B>[2J"
