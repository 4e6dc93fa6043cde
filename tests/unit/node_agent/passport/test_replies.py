"""What is made of a model's stream, whatever is in it."""

from __future__ import annotations

import json

import pytest

from node_agent.passport.replies import Call, Fold, Reply, refused


def chunk(**delta: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


def folded(*lines: bytes) -> Reply:
    fold = Fold()
    for number, line in enumerate(lines):
        fold.feed(line, number * 100)
    return fold.reply()


def test_a_call_in_pieces_of_one_character() -> None:
    first = chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "ping", "arguments": ""}}])
    rest = [chunk(tool_calls=[{"index": 0, "function": {"arguments": one}}]) for one in '{"x":"ok"}']
    end = b'data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}'
    reply = folded(chunk(role="assistant", content=""), first, *rest, end, b"data: [DONE]")
    assert reply.calls == (Call("ping", '{"x":"ok"}'),) and reply.calls[0].fields == {"x": "ok"}
    assert reply.finish == "tool_calls" and reply.first_ms == 100 and reply.well


def test_two_calls_without_an_index_are_two() -> None:
    calls = [{"function": {"name": name, "arguments": {"x": name}}} for name in ("a", "b")]
    assert [one.fields for one in folded(chunk(tool_calls=calls)).calls] == [{"x": "a"}, {"x": "b"}]


def test_the_last_chunk_has_the_usage_and_its_speed_counts_first() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 11}}
    words = [chunk(content="a") for _ in range(11)]
    measured = folded(*words, b"data: " + json.dumps(usage).encode())
    assert (measured.prompt_tokens, measured.tokens, measured.tok_s) == (9, 11, 10.0)  # 10 in 1 s
    told = {**usage, "timings": {"predicted_per_second": 123.456}}
    assert folded(*words, b"data: " + json.dumps(told).encode()).tok_s == 123.5


def test_too_few_tokens_say_nothing_of_a_speed() -> None:
    usage = {"usage": {"completion_tokens": 2}, "timings": {"predicted_per_second": 9e9}}
    assert folded(chunk(content="a"), b"data: " + json.dumps(usage).encode()).tok_s is None


def test_thoughts_are_tokens() -> None:
    reply = folded(chunk(role="assistant"), chunk(reasoning_content="hm"), chunk(content="yes"))
    assert reply.thought and reply.text == "yes" and reply.first_ms == 100


@pytest.mark.parametrize(
    "line",
    [
        b": keep-alive",
        b"data: {not json",
        b"data: [1, 2]",
        b'data: {"choices": "none"}',
        b'data: {"choices": [null]}',
        b'data: {"choices": [{"delta": {"tool_calls": [null, {"function": 3}], "content": 7}}]}',
        b'data: {"usage": {"prompt_tokens": -1, "completion_tokens": true}}',
        b"data: " + b"[" * 100_000,
        b"event: message",
    ],
)
def test_what_cannot_be_read_is_not_there(line: bytes) -> None:
    reply = folded(line)
    assert reply.text == "" and reply.tokens is None and reply.prompt_tokens is None and reply.well


def test_more_calls_than_anybody_asked_for_are_cut() -> None:
    many = [chunk(tool_calls=[{"index": at, "function": {"name": "a"}}]) for at in range(1_000)]
    assert len(folded(*many).calls) == 16


def test_an_error_in_the_middle_of_a_stream() -> None:
    reply = folded(chunk(content="so"), b'data: {"error": {"message": "out of memory"}}')
    assert not reply.well and reply.error == "out of memory"


@pytest.mark.parametrize(
    ("body", "words", "ctx"),
    [
        (b'{"error": {"message": "too long", "n_ctx": 4096, "type": "x"}}', "too long", 4096),
        (b'{"error": "model \\"q\\" not found"}', 'model "q" not found', None),
        (b'{"detail": "no"}', "no", None),
        (b"<html>Bad Gateway</html>", "status 502", None),
        (b'{"error": {"n_ctx": "many"}}', "it tells an error", None),
    ],
)
def test_a_refusal_in_the_servers_words(body: bytes, words: str, ctx: int | None) -> None:
    reply = refused(502, body)
    assert (reply.status, reply.error, reply.ctx, reply.well) == (502, words, ctx, False)


@pytest.mark.parametrize("arguments", ['{"x": ', "[1]", "ok", "", '"x"'])
def test_arguments_that_are_no_object(arguments: str) -> None:
    assert Call("ping", arguments).fields is None
