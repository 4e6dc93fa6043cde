"""Answers on the OpenAI Chat Completions wire."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .plan import Plan, StreamError, args_text
from .replies import error_body
from .wires import Req

if TYPE_CHECKING:
    from .handler import Handler

FINISH = {"tool": "tool_calls", "stop": "stop", "length": "length", "content_filter": "content_filter"}


def emit_chat(h: Handler, req: Req, p: Plan) -> None:
    """Send the turn as one completion, or as its chunks."""
    base = {
        "id": "chatcmpl-" + p.id,
        "created": int(time.time()),
        "model": req.model,
        "system_fingerprint": "fakemodel",
    }
    extra = {"timings": p.usage.timings(p.seconds())} if h.state.persona in ("all", "llamacpp") else {}
    if not req.stream:
        p.before_end()
        choice = {"index": 0, "message": _message(p), "logprobs": None, "finish_reason": FINISH[p.finish]}
        body = {**base, "object": "chat.completion", "usage": p.usage.chat(), **extra, "choices": [choice]}
        return h.send_json(body)
    base["object"] = "chat.completion.chunk"
    h.start_stream()
    try:
        for delta in _deltas(p):
            h.sse({**base, "choices": [_choice(delta, None)]})
        p.before_end()
        h.sse({**base, "choices": [_choice({}, FINISH[p.finish])]})
        if (req.body.get("stream_options") or {}).get("include_usage"):
            h.sse({**base, "choices": [], "usage": p.usage.chat(), **extra})
    except StreamError:
        e = p.stream_error()
        h.sse(error_body("chat", 500, e.get("message"), e.get("type")))
    h.sse("[DONE]")
    h.end_stream()


def _choice(delta: dict, finish: str | None) -> dict:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _call(p: Plan, i: int, arguments: str) -> dict:
    function = {"name": p.calls[i]["name"], "arguments": arguments}
    return {"id": p.call_id("call_", i), "type": "function", "function": function}


def _message(p: Plan) -> dict:
    msg: dict = {"role": "assistant", "content": p.text or None}
    if p.reasoning:
        msg["reasoning_content"] = p.reasoning
    if p.calls:
        msg["tool_calls"] = [_call(p, i, args_text(c)) for i, c in enumerate(p.calls)]
    return msg


def _deltas(p: Plan) -> Iterator[dict]:
    yield {"role": "assistant", "content": ""}
    for s in p.pieces(p.reasoning):
        yield {"reasoning_content": s}
    for s in p.pieces(p.text):
        yield {"content": s}
    for i, c in enumerate(p.calls):
        yield {"tool_calls": [{"index": i, **_call(p, i, "")}]}
        for s in p.pieces(args_text(c)):
            yield {"tool_calls": [{"index": i, "function": {"arguments": s}}]}
