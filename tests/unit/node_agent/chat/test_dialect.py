"""OpenAI's dialect of chat: what is asked, and how a stream of pieces becomes one answer."""

from __future__ import annotations

import json

import pytest

from node_agent.chat.dialect import MOST_CALLS, Stream, refusal
from node_agent.chat.messages import Call


@pytest.mark.parametrize(
    ("body", "words", "room"),
    [
        (b'{"error": {"message": "exceeds the available context size", "n_ctx": 4096}}', "exceeds the", 4096),
        (b'{"error": "model \\"q\\" not found"}', 'model "q" not found', None),
        (b'{"detail": "no"}', "no", None),
        (b'{"message": "no\\n such"}', "no such", None),
        (b"<html>Bad Request</html>", "status 400", None),
        (b'{"error": {"n_ctx": "many"}}', "it tells an error", None),
    ],
)
def test_a_refusal_in_the_servers_words(body: bytes, words: str, room: int | None) -> None:
    trouble = refusal(400, body)
    assert str(trouble).startswith(words) and (trouble.status, trouble.room) == (400, room)
    assert trouble.too_long is (room is not None) and not trouble.passing


@pytest.mark.parametrize(
    ("status", "passing"), [(401, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_what_may_be_asked_again(status: int, passing: bool) -> None:
    assert refusal(status, b"").passing is passing


def chunk(**delta: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta}]})


def joined(*events: str) -> Stream:
    stream = Stream()
    for event in events:
        stream.take(event)
    return stream


def test_a_call_in_pieces_of_one_character() -> None:
    first = chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "ping", "arguments": ""}}])
    rest = [chunk(tool_calls=[{"index": 0, "function": {"arguments": one}}]) for one in '{"x":"ok"}']
    end = '{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}'
    answer = joined(chunk(role="assistant", content=""), first, *rest, end).answer()
    assert answer.calls == (Call("c", "ping", '{"x":"ok"}'),) and answer.calls[0].fields == {"x": "ok"}
    assert answer.finish == "tool_call"


def test_calls_without_an_index_are_as_many_as_there_are() -> None:
    calls = [{"function": {"name": name, "arguments": {"x": name}}} for name in ("a", "b")]
    assert [one.fields for one in joined(chunk(tool_calls=calls)).calls] == [{"x": "a"}, {"x": "b"}]
    apart = [chunk(tool_calls=[{"id": f"i{one}", "function": {"name": one}}]) for one in "ab"]
    assert joined(*apart).calls == (Call("ia", "a", ""), Call("ib", "b", ""))


def test_text_is_told_as_it_comes_and_thoughts_are_not() -> None:
    stream = Stream()
    pieces = ["<think>", "hm", "</think>", "so ", "it is", "<think>"]
    assert [stream.take(chunk(content=one)) for one in pieces] == ["", "", "", "so ", "it is", ""]
    assert stream.text == "so it is" and stream.thought
    apart = joined(chunk(role="assistant"), chunk(reasoning_content="hm"), chunk(content="yes"))
    assert apart.text == "yes" and apart.thought
    assert not joined(chunk(content="a <think> in a text")).thought


def test_an_event_with_a_token_is_known() -> None:
    stream = Stream()
    events = [chunk(role="assistant", content=""), chunk(reasoning="hm"), chunk(content="a"), "{}"]
    grown = []
    for event in events:
        stream.take(event)
        grown.append(stream.has_grown)
    assert grown == [False, True, True, False]


def test_usage_is_the_last_that_was_told() -> None:
    used = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
    early = json.dumps({"usage": {"prompt_tokens": 9, "completion_tokens": 1}})
    tokens = joined(early, json.dumps({"choices": [], "usage": used})).answer().tokens
    assert (tokens.input, tokens.cached, tokens.output, tokens.told) == (4, 5, 4, True)
    assert not joined(chunk(content="a")).answer().tokens.told


def test_a_model_that_declines() -> None:
    end = '{"choices":[{"delta":{},"finish_reason":"stop"}]}'
    assert joined(chunk(refusal="I must not."), end).answer().finish == "content_filter"


@pytest.mark.parametrize(
    ("event", "garbled"),
    [
        ("{not json", True),
        ("[1, 2]", True),
        ("[" * 100_000, True),
        ('{"choices": "none"}', False),
        ('{"choices": [null]}', False),
        ('{"choices": [{"delta": {"tool_calls": [null, {"function": 3}], "content": 7}}]}', False),
        ('{"usage": {"prompt_tokens": -1, "completion_tokens": true}}', False),
    ],
)
def test_what_cannot_be_read_is_not_there(event: str, garbled: bool) -> None:
    stream = joined(event)
    assert (stream.text, stream.tokens, stream.prompt_tokens, stream.error) == ("", None, None, "")
    assert stream.calls == () and stream.garbled is garbled


def test_more_calls_than_anybody_does_are_cut() -> None:
    many = [chunk(tool_calls=[{"index": at, "function": {"name": "a"}}]) for at in range(1_000)]
    assert len(joined(*many).calls) == MOST_CALLS


def test_an_error_in_the_middle_of_a_stream() -> None:
    assert joined(chunk(content="so"), '{"error": {"message": "out of memory"}}').error == "out of memory"


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [('{"x": ', None), ("[1]", None), ("ok", None), ('"x"', None), ("", {}), ('{"x": 1}', {"x": 1})],
)
def test_arguments_that_are_no_object(arguments: str, fields: dict[str, object] | None) -> None:
    assert Call("c", "ping", arguments).fields == fields
