"""Answers on the OpenAI Responses wire."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from .plan import Plan, StreamError, args_text
from .wires import Req

if TYPE_CHECKING:
    from .handler import Handler

WHY = {"length": "max_output_tokens", "content_filter": "content_filter"}
# Before its deltas an item is announced with these fields.
BLANK: dict[str, dict] = {
    "message": {"content": [], "status": "in_progress"},
    "function_call": {"arguments": "", "status": "in_progress"},
    "custom_tool_call": {"input": "", "status": "in_progress"},
    "reasoning": {"summary": []},
}


def emit_responses(h: Handler, req: Req, p: Plan) -> None:
    """Send the turn as one response, or as its events."""
    resp = _response(req, p)
    with h.state.lock:
        h.state.response_turns[resp["id"]] = req.assistant_turns + 1
    if not req.stream:
        p.before_end()
        return h.send_json(resp)
    h.start_stream()
    _Stream(h, p).send(resp)
    h.end_stream()


def _response(req: Req, p: Plan) -> dict:
    why = WHY.get(p.finish)
    return {
        "id": "resp_" + p.id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if why else "completed",
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "model": req.model,
        "output": _items(p),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "metadata": {},
        "usage": p.usage.responses(),
    }


def _items(p: Plan) -> list[dict]:
    items: list[dict] = []
    if p.reasoning:
        summary = [{"type": "summary_text", "text": p.reasoning}]
        items.append({"type": "reasoning", "id": "rs_" + p.id, "encrypted_content": None, "summary": summary})
    if p.text:
        content = [{"type": "output_text", "text": p.text, "annotations": []}]
        done = {"status": "completed", "role": "assistant", "content": content}
        items.append({"type": "message", "id": "msg_" + p.id, **done})
    return items + [_call_item(p, i, c) for i, c in enumerate(p.calls)]


def _call_item(p: Plan, i: int, c: dict) -> dict:
    it: dict = {
        "id": p.call_id("fc_", i),
        "call_id": p.call_id("call_", i),
        "name": c["name"],
        "status": "completed",
    }
    if c.get("namespace"):
        it["namespace"] = c["namespace"]
    if c["kind"] == "custom":
        it.update(type="custom_tool_call", input=args_text(c))
    elif c["kind"] == "builtin" and "shell" in c["name"]:
        cmd = c["arguments"].get("command") if isinstance(c["arguments"], dict) else c["arguments"]
        argv = cmd if isinstance(cmd, list) else ["bash", "-lc", cmd]
        it.update(type="local_shell_call", action={"type": "exec", "command": argv, "env": {}})
    else:
        it.update(type="function_call", arguments=args_text(c))
    return it


class _Stream:
    """The events of one response."""

    def __init__(self, h: Handler, p: Plan) -> None:
        self.h, self.p, self.seq = h, p, itertools.count()

    def ev(self, kind: str, **kw: Any) -> None:
        self.h.sse({"type": kind, "sequence_number": next(self.seq), **kw}, kind)

    def send(self, resp: dict) -> None:
        early = dict(resp, status="in_progress", output=[], usage=None, incomplete_details=None)
        try:
            self.ev("response.created", response=early)
            self.ev("response.in_progress", response=early)
            for i, item in enumerate(resp["output"]):
                self.item(i, item)
            self.p.before_end()
            self.ev("response." + resp["status"], response=resp)
        except StreamError:
            e = self.p.stream_error()
            text = e.get("message", "fakemodel stream error")
            err = {"code": e.get("type", "server_error"), "message": text}
            self.ev("response.failed", response=dict(early, status="failed", error=err))

    def item(self, i: int, it: dict) -> None:
        self.ev("response.output_item.added", output_index=i, item={**it, **BLANK.get(it["type"], {})})
        where = {"item_id": it["id"], "output_index": i}
        match it["type"]:
            case "message":
                self.message(it, where)
            case "function_call":
                kind, text = "response.function_call_arguments", it["arguments"]
                self.pieces(kind, text, where)
                self.ev(kind + ".done", arguments=text, name=it["name"], **where)
            case "custom_tool_call":
                kind, text = "response.custom_tool_call_input", it["input"]
                self.pieces(kind, text, where)
                self.ev(kind + ".done", input=text, **where)
            case "reasoning":
                self.reasoning(it, where)
        self.ev("response.output_item.done", output_index=i, item=it)

    def pieces(self, kind: str, text: str, where: dict) -> None:
        for s in self.p.pieces(text):
            self.ev(kind + ".delta", delta=s, **where)

    def message(self, it: dict, where: dict) -> None:
        where = {"content_index": 0, **where}
        part = {"type": "output_text", "text": "", "annotations": []}
        self.ev("response.content_part.added", part=part, **where)
        self.pieces("response.output_text", self.p.text, where)
        self.ev("response.output_text.done", text=self.p.text, **where)
        self.ev("response.content_part.done", part=it["content"][0], **where)

    def reasoning(self, it: dict, where: dict) -> None:
        where, kind = {"summary_index": 0, **where}, "response.reasoning_summary"
        self.ev(kind + "_part.added", part={"type": "summary_text", "text": ""}, **where)
        self.pieces(kind + "_text", self.p.reasoning, where)
        self.ev(kind + "_text.done", text=self.p.reasoning, **where)
        self.ev(kind + "_part.done", part=it["summary"][0], **where)
