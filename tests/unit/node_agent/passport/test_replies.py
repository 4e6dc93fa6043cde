"""How fast an answer came, and what ended it."""

from __future__ import annotations

import json

from node_agent.chat.dialect import refusal
from node_agent.passport.replies import Reply, Timed


def chunk(**delta: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta}]})


def timed(*events: str) -> Reply:
    one = Timed()
    for number, event in enumerate(events):
        one.take(event, number * 100)
    return one.reply()


def test_the_first_token_counts_whatever_it_is() -> None:
    assert timed(chunk(role="assistant", content=""), chunk(content="a"), chunk(content="b")).first_ms == 100
    assert timed(chunk(role="assistant"), chunk(reasoning_content="hm")).first_ms == 100
    assert timed(chunk(role="assistant")).first_ms is None


def test_a_speed_is_measured_where_none_is_told() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 11}}
    words = [chunk(content="a") for _ in range(11)]
    measured = timed(*words, json.dumps(usage))
    assert (measured.prompt_tokens, measured.tokens, measured.tok_s) == (9, 11, 10.0)  # 10 in 1 s
    told = {**usage, "timings": {"predicted_per_second": 123.456}}
    assert timed(*words, json.dumps(told)).tok_s == 123.5


def test_too_few_tokens_say_nothing_of_a_speed() -> None:
    usage = {"usage": {"completion_tokens": 2}, "timings": {"predicted_per_second": 9e9}}
    assert timed(chunk(content="a"), json.dumps(usage)).tok_s is None


def test_a_refusal_is_a_reply() -> None:
    body = b'{"error": {"message": "exceeds the context size", "n_ctx": 4096}}'
    reply = Timed().reply(trouble=refusal(400, body))
    assert (reply.status, reply.ctx, reply.well) == (400, 4096, False) and reply.error
