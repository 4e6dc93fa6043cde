"""Answers on the Anthropic Messages wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .plan import Plan, StreamError
from .wires import Req

if TYPE_CHECKING:
    from .handler import Handler

STOP = {"tool": "tool_use", "stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


def emit_anthropic(h: Handler, req: Req, p: Plan) -> None:
    """Send the turn as one message, or as its events."""
    stop, blocks = STOP[p.finish], _blocks(p)
    msg: dict[str, Any] = {
        "id": "msg_" + p.id,
        "type": "message",
        "role": "assistant",
        "model": req.model,
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": p.usage.anthropic(),
    }
    if not req.stream:
        p.before_end()
        return h.send_json(msg)
    h.start_stream()
    try:
        start = dict(msg, content=[], stop_reason=None, usage=dict(msg["usage"], output_tokens=1))
        _event(h, {"type": "message_start", "message": start})
        _event(h, {"type": "ping"})
        for i, block in enumerate(blocks):
            _stream_block(h, p, i, block)
        p.before_end()
        delta = {"stop_reason": stop, "stop_sequence": None}
        _event(h, {"type": "message_delta", "delta": delta, "usage": p.usage.anthropic()})
        _event(h, {"type": "message_stop"})
    except StreamError:
        e = p.stream_error()
        error = {"type": e.get("type", "overloaded_error"), "message": e.get("message", "Overloaded")}
        _event(h, {"type": "error", "error": error})
    h.end_stream()


def _blocks(p: Plan) -> list[dict]:
    blocks: list[dict] = []
    if p.reasoning:
        blocks.append({"type": "thinking", "thinking": p.reasoning, "signature": "ZmFrZQ=="})
    if p.text:
        blocks.append({"type": "text", "text": p.text})
    for i, c in enumerate(p.calls):
        args = c["arguments"] if isinstance(c["arguments"], dict) else {"input": c["arguments"]}
        blocks.append({"type": "tool_use", "id": p.call_id("toolu_", i), "name": c["name"], "input": args})
    return blocks


def _event(h: Handler, data: dict) -> None:
    h.sse(data, data["type"])


def _stream_block(h: Handler, p: Plan, i: int, block: dict) -> None:
    _event(h, {"type": "content_block_start", "index": i, "content_block": _empty(block)})
    for delta in _deltas(p, block):
        _event(h, {"type": "content_block_delta", "index": i, "delta": delta})
    _event(h, {"type": "content_block_stop", "index": i})


def _empty(block: dict) -> dict:
    if block["type"] == "text":
        return {"type": "text", "text": ""}
    if block["type"] == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return dict(block, input={})


def _deltas(p: Plan, block: dict) -> Iterator[dict]:
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": s} for s in p.pieces(block["text"]))
    elif block["type"] == "thinking":
        yield from ({"type": "thinking_delta", "thinking": s} for s in p.pieces(block["thinking"]))
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        pieces = p.pieces(json.dumps(block["input"]))
        yield from ({"type": "input_json_delta", "partial_json": s} for s in pieces)
