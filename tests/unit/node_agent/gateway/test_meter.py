"""What answers say of tokens, on five wires, however they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.gateway.meter import LINE_BYTES, PLAIN_BYTES, MeterReading, TokenCount, Wire, meter_of

SSE, JSON, LINES = "text/event-stream; charset=utf-8", "application/json", "application/x-ndjson"


def events(*values: Any) -> bytes:
    return b"".join(b"event: e\ndata: " + json.dumps(value).encode() + b"\n\n" for value in values)


ANTHROPIC_USAGE = {"input_tokens": 5, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 20}
CHAT_USAGE = {"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 30}}
RESPONSES_USAGE = {"input_tokens": 90, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 30}}
GEMINI_USAGE = {
    "promptTokenCount": 90,
    "cachedContentTokenCount": 30,
    "candidatesTokenCount": 4,
    "thoughtsTokenCount": 3,
}
START = {"type": "message_start", "message": {"model": "m", "usage": {**ANTHROPIC_USAGE, "output_tokens": 1}}}
DELTA = {"type": "message_delta", "usage": {"output_tokens": 7}}
TEXT = {"type": "content_block_delta", "delta": {"text": 'the word "usage" and {"usage": 1}'}}

ANSWERS: dict[str, tuple[Wire, str, bytes, TokenCount]] = {
    "anthropic stream": (Wire.ANTHROPIC, SSE, events(START, TEXT, DELTA), TokenCount(5, 70, 20, 7)),
    "anthropic plain": (
        Wire.ANTHROPIC,
        JSON,
        json.dumps(
            {"type": "message", "model": "m", "usage": {**ANTHROPIC_USAGE, "output_tokens": 7}}
        ).encode(),
        TokenCount(5, 70, 20, 7),
    ),
    "chat stream": (
        Wire.CHAT,
        SSE,
        events({"model": "m", "usage": None}, {"model": "m", "choices": [], "usage": CHAT_USAGE})
        + b"data: [DONE]\n\n",
        TokenCount(60, 30, 0, 7),
    ),
    "chat plain": (
        Wire.CHAT,
        JSON,
        json.dumps({"model": "m", "usage": CHAT_USAGE}).encode(),
        TokenCount(60, 30, 0, 7),
    ),
    "responses stream": (
        Wire.RESPONSES,
        SSE,
        events(
            {"type": "response.created", "response": {"model": "m", "usage": None}},
            {"type": "response.completed", "response": {"model": "m", "usage": RESPONSES_USAGE}},
        ),
        TokenCount(60, 30, 0, 7),
    ),
    "responses plain": (
        Wire.RESPONSES,
        JSON,
        json.dumps({"model": "m", "usage": RESPONSES_USAGE}).encode(),
        TokenCount(60, 30, 0, 7),
    ),
    "gemini stream": (
        Wire.GEMINI,
        SSE,
        events(
            {"modelVersion": "m", "usageMetadata": {"promptTokenCount": 90, "candidatesTokenCount": 1}},
            {
                "modelVersion": "m",
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": GEMINI_USAGE,
            },
        ),
        TokenCount(60, 30, 0, 7),
    ),
    "gemini list": (
        Wire.GEMINI,
        JSON,
        json.dumps(
            [
                {"modelVersion": "m"},
                {
                    "modelVersion": "m",
                    "candidates": [{"finishReason": "STOP"}],
                    "usageMetadata": GEMINI_USAGE,
                },
            ]
        ).encode(),
        TokenCount(60, 30, 0, 7),
    ),
    "ollama stream": (
        Wire.OLLAMA,
        LINES,
        b'{"model":"m","done":false}\n'
        b'{"model":"m","done":true,"prompt_eval_count":60,"eval_count":7}\n',
        TokenCount(60, 0, 0, 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ANSWERS))
@given(cuts=st.lists(st.integers(0, 1000), max_size=6))
def test_however_an_answer_is_cut_it_says_the_same(name: str, cuts: list[int]) -> None:
    wire, kind, data, tokens = ANSWERS[name]
    meter = meter_of(wire, kind)
    at = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    for begin, end in zip(at, at[1:], strict=False):
        meter.feed(data[begin:end])
    meter.close()
    assert meter.reading == MeterReading(tokens, True, "m")


@pytest.mark.parametrize("name", sorted(name for name in ANSWERS if "stream" in name))
def test_a_stream_that_breaks_off_is_not_whole(name: str) -> None:
    wire, kind, data, _ = ANSWERS[name]
    meter = meter_of(wire, kind)
    meter.feed(data[: data.rindex(b"{") - 12])
    meter.close()
    assert not meter.reading.whole


def test_what_broke_off_after_its_start_still_tells_the_input() -> None:
    meter = meter_of(Wire.ANTHROPIC, SSE)
    meter.feed(events(START, TEXT))
    meter.close()
    assert meter.reading == MeterReading(TokenCount(5, 70, 20, 1), False, "m")


@pytest.mark.parametrize("wire", list(Wire))
@pytest.mark.parametrize("kind", [SSE, JSON, LINES, ""])
@given(data=st.binary(max_size=200))
def test_no_bytes_raise(wire: Wire, kind: str, data: bytes) -> None:
    meter = meter_of(wire, kind)
    meter.feed(data)
    meter.feed(
        b'data: {"usage": [1], "message": 3, "response": "x", "usageMetadata": {"a": []}, "done": true}\n'
    )
    meter.feed(b'data: {"usage": {"prompt_tokens": -1, "completion_tokens": 1e99, "output_tokens": true}}\n')
    meter.close()
    assert meter.reading.tokens.total >= 0


def test_a_line_without_end_is_not_kept() -> None:
    meter = meter_of(Wire.CHAT, SSE)
    for _ in range(LINE_BYTES // (1 << 20) + 2):
        meter.feed(b"x" * (1 << 20))
    assert sum(map(len, vars(meter)["_rest"])) <= LINE_BYTES
    meter.feed(b"\n" + ANSWERS["chat stream"][2])
    assert meter.reading.tokens == TokenCount(60, 30, 0, 7), "and what comes after it is read"


def test_a_number_that_no_wire_can_carry_counts_as_none() -> None:
    meter = meter_of(Wire.CHAT, JSON)
    meter.feed(json.dumps({"usage": {"prompt_tokens": 2**60, "completion_tokens": 7}}).encode())
    meter.close()
    assert meter.reading.tokens == TokenCount(0, 0, 0, 7)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_whether_there_was_anything_to_be_read(kind: str) -> None:
    def heard(*pieces: bytes) -> bool:
        meter = meter_of(Wire.CHAT, kind)
        for piece in pieces:
            meter.feed(piece)
        meter.close()
        return meter.heard

    assert heard(b'{"choices"', b": []}"), "without a word of tokens"
    assert not heard(b'{"choices": [{"de') and not heard(b"<html>no</html>") and not heard()


def test_a_plain_answer_that_is_too_long_to_be_looked_at_is_one_all_the_same() -> None:
    meter = meter_of(Wire.CHAT, "application/json")
    for _ in range(PLAIN_BYTES // (1 << 20) + 1):
        meter.feed(b"[" + b"0," * (1 << 19))
    meter.close()
    assert meter.heard and not meter.reading.whole


TERMS = [
    (
        Wire.ANTHROPIC,
        {"type": "message", "usage": {"output_tokens": 1, "service_tier": "priority", "speed": "fast"}},
    ),
    (Wire.CHAT, {"service_tier": "priority", "usage": {"prompt_tokens": 1, "speed": "fast"}}),
    (
        Wire.RESPONSES,
        {"response": {"service_tier": "priority", "usage": {"input_tokens": 1, "speed": "fast"}}},
    ),
    (Wire.GEMINI, {"usageMetadata": {"promptTokenCount": 1, "service_tier": "priority", "speed": "fast"}}),
]


@pytest.mark.parametrize(("wire", "answer"), TERMS)
@pytest.mark.parametrize("kind", [SSE, JSON])
def test_what_may_change_the_price_is_read_beside_the_numbers(wire: Wire, answer: Any, kind: str) -> None:
    meter = meter_of(wire, kind)
    meter.feed(events(answer, {"usage": None}) if kind == SSE else json.dumps(answer).encode())
    meter.close()
    assert dict(meter.reading.terms) == {"service_tier": "priority", "speed": "fast"}


def test_what_a_cache_keeps_for_an_hour_is_told_apart() -> None:
    usage = {**ANTHROPIC_USAGE, "cache_creation": {"ephemeral_1h_input_tokens": 15}}
    meter = meter_of(Wire.ANTHROPIC, SSE)
    meter.feed(events({"type": "message_start", "message": {"model": "m", "usage": usage}}, DELTA))
    meter.close()
    assert meter.reading.tokens == TokenCount(5, 70, 20, 7, hour=15)
