"""Answers on the Gemini generateContent wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .plan import Plan, StreamError
from .replies import error_body
from .wires import Req

if TYPE_CHECKING:
    from .handler import Handler

FINISH = {"tool": "STOP", "stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def emit_assist(h: Handler, req: Req, p: Plan) -> None:
    """The same in the envelope of Google's server for accounts."""
    emit_gemini(h, req, p, lambda frame: frame if "error" in frame else {"response": frame, "traceId": p.id})


def emit_gemini(h: Handler, req: Req, p: Plan, put: Callable[[dict], dict] = dict) -> None:
    """Send the turn as one response, as server-sent events or as a growing JSON array."""
    if not req.stream:
        p.before_end()
        return h.send_json(put(_last(req, p, _all_parts(p))))
    sse = h.query.get("alt") == "sse"
    h.start_stream("text/event-stream" if sse else "application/json")
    head, tail = ("data: ", "\r\n\r\n") if sse else ("[", "")
    for frame in _frames(req, p):
        h.chunk(head + json.dumps(put(frame)) + tail)
        head = head if sse else ",\r\n"
    if not sse:
        h.chunk("]")
    h.end_stream()


def _frames(req: Req, p: Plan) -> Iterator[dict]:
    try:
        for s in p.pieces(p.reasoning):
            yield _frame(req, p, [{"text": s, "thought": True}])
        for s in p.pieces(p.text):
            yield _frame(req, p, [{"text": s}])
        for i in range(len(p.calls)):
            p.step()
            yield _frame(req, p, [_call_part(p, i)])
        p.before_end()
        yield _last(req, p, [{"text": ""}])
    except StreamError:
        e = p.stream_error()
        yield error_body("gemini", 503, e.get("message"), e.get("type"))


def _frame(req: Req, p: Plan, parts: list[dict]) -> dict:
    candidate: dict = {"content": {"parts": parts, "role": "model"}, "index": 0}
    return {"candidates": [candidate], "modelVersion": req.model, "responseId": p.id}


def _last(req: Req, p: Plan, parts: list[dict]) -> dict:
    d = _frame(req, p, parts)
    d["candidates"][0]["finishReason"] = FINISH[p.finish]
    d["usageMetadata"] = p.usage.gemini()
    return d


def _call_part(p: Plan, i: int) -> dict:
    c = p.calls[i]
    args = c["arguments"] if isinstance(c["arguments"], dict) else {"input": c["arguments"]}
    call = {"id": p.call_id("fc", i), "name": c["name"], "args": args}
    return {"functionCall": call, "thoughtSignature": "ZmFrZQ=="}


def _all_parts(p: Plan) -> list[dict]:
    parts: list[dict] = []
    if p.reasoning:
        parts.append({"text": p.reasoning, "thought": True})
    if p.text:
        parts.append({"text": p.text})
    return parts + [_call_part(p, i) for i in range(len(p.calls))]
