"""Requests of every wire (API), reduced to what the script engine needs."""

from __future__ import annotations

import json
import re
from typing import Any

CWD_WORDS = (r"working in the directory:", r"(?:working directory|cwd)\W{0,12}?(?:is|:|>|=)?")
"""How programs tell their model where they work; the surest first, as a prompt may speak of such a folder."""


class Req:
    """A request of any wire, reduced to what the script engine needs."""

    def __init__(self, wire: str, body: dict, model: str | None, stream: bool):
        self.wire = wire
        self.body = body
        self.model = model
        self.stream = stream
        self.tools: list[dict] = []  # {"name", "schema", "kind": function|custom|builtin}
        self.system_text = ""
        self.user_text = ""
        self.assistant_turns = 0
        self.tool_results = 0
        self.last_tool_result = ""

    @property
    def cwd(self) -> str | None:
        text = self.system_text + "\n" + self.user_text
        told = (re.search(way + r"[\s`'\"*<>]{0,6}(/[^\s<>\"'`,;]+)", text, re.I) for way in CWD_WORDS)
        m = next(filter(None, told), None)
        return m.group(1).rstrip(".)") if m else None


def _text(content: Any) -> str:
    """Text of a message content of any wire."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        for k in ("text", "content", "output", "input_text"):
            if k in content:
                return _text(content[k])
        return ""
    if isinstance(content, list):
        return "\n".join(filter(None, (_text(c) for c in content)))
    return str(content)


def norm_anthropic(body: dict) -> Req:
    r = Req("anthropic", body, body.get("model"), bool(body.get("stream")))
    r.system_text = _text(body.get("system"))
    for t in body.get("tools") or []:
        r.tools.append(
            {
                "name": t.get("name") or t.get("type", ""),
                "schema": t.get("input_schema") or {},
                "kind": "function" if "input_schema" in t else "builtin",
            }
        )
    prev = None
    users = []
    for m in body.get("messages") or []:
        role = m.get("role")
        if role == "assistant" and prev != "assistant":
            r.assistant_turns += 1
        if role == "user":
            blocks = m.get("content")
            blocks = blocks if isinstance(blocks, list) else [{"type": "text", "text": blocks}]
            had = False
            for b in blocks:
                if isinstance(b, dict) and b.get("type") == "tool_result":
                    had = True
                    r.last_tool_result = _text(b.get("content"))
                else:
                    users.append(_text(b))
            r.tool_results += had
        elif role == "system":
            r.system_text += "\n" + _text(m.get("content"))
        prev = role
    r.user_text = "\n".join(filter(None, users))
    return r


def _chat_tools(tools: Any) -> list[dict]:
    out = []
    for t in tools or []:
        kind = t.get("type", "function")
        if kind == "namespace":
            for sub in t.get("tools") or []:
                for d in _chat_tools([sub]):
                    d["namespace"] = t.get("name")
                    out.append(d)
            continue
        f = t.get("function") if isinstance(t.get("function"), dict) else t
        if kind in ("function", "custom"):
            c = f if kind == "function" else (t.get("custom") or t)
            out.append({"name": c.get("name", ""), "schema": c.get("parameters") or {}, "kind": kind})
        else:
            out.append({"name": t.get("name") or kind, "schema": {}, "kind": "builtin"})
    return out


def norm_chat(body: dict, wire: str = "chat") -> Req:
    stream = body.get("stream", wire == "ollama")
    r = Req(wire, body, body.get("model"), bool(stream))
    r.tools = _chat_tools(body.get("tools"))
    users, prev = [], None
    for m in body.get("messages") or []:
        role = m.get("role")
        if role in ("system", "developer"):
            r.system_text += _text(m.get("content")) + "\n"
        elif role == "user":
            users.append(_text(m.get("content")))
        elif role == "assistant" and prev != "assistant":
            r.assistant_turns += 1
        elif role in ("tool", "function"):
            r.last_tool_result = _text(m.get("content"))
            if prev not in ("tool", "function"):
                r.tool_results += 1
        prev = role
    r.user_text = "\n".join(filter(None, users))
    return r


RESP_ASSISTANT = {
    "function_call",
    "custom_tool_call",
    "reasoning",
    "local_shell_call",
    "web_search_call",
    "tool_search_call",
}


def norm_responses(body: dict, base_turns: int = 0) -> Req:
    r = Req("responses", body, body.get("model"), bool(body.get("stream")))
    r.tools = _chat_tools(body.get("tools"))
    r.system_text = _text(body.get("instructions"))
    r.assistant_turns = base_turns
    items = body.get("input")
    if isinstance(items, str):
        items = [{"type": "message", "role": "user", "content": items}]
    users: list[str] = []
    prev = ""
    for it in items or []:
        prev = _take_item(r, it, users, prev)
    r.user_text = "\n".join(filter(None, users))
    return r


def _take_item(r: Req, it: dict, users: list[str], prev: str) -> str:
    """Count one item of a Responses request; whose it was: assistant, tool, system or user."""
    kind, role = it.get("type") or ("message" if "role" in it else ""), it.get("role")
    if kind in RESP_ASSISTANT or (kind == "message" and role == "assistant"):
        r.assistant_turns += prev != "assistant"
        return "assistant"
    if kind.endswith("_output"):
        r.last_tool_result = _text(it.get("output"))
        r.tool_results += prev != "tool"
        return "tool"
    if kind != "message":
        return prev
    if role in ("system", "developer"):
        r.system_text += "\n" + _text(it.get("content"))
        return "system"
    users.append(_text(it.get("content")))
    return "user"


def norm_gemini(body: dict, model: str, stream: bool) -> Req:
    r = Req("gemini", body, model, stream)
    si = body.get("systemInstruction") or body.get("system_instruction") or {}
    r.system_text = _text(si.get("parts")) if isinstance(si, dict) else _text(si)
    for t in body.get("tools") or []:
        for f in t.get("functionDeclarations") or t.get("function_declarations") or []:
            r.tools.append(
                {
                    "name": f.get("name", ""),
                    "kind": "function",
                    "schema": f.get("parametersJsonSchema") or f.get("parameters") or {},
                }
            )
    users, prev = [], None
    for c in body.get("contents") or []:
        role = c.get("role", "user")
        if role == "model":
            if prev != "model":
                r.assistant_turns += 1
        else:
            had = False
            for p in c.get("parts") or []:
                if "functionResponse" in p:
                    had = True
                    r.last_tool_result = json.dumps(p["functionResponse"].get("response"))
                else:
                    users.append(_text(p))
            r.tool_results += had
        prev = role
    r.user_text = "\n".join(filter(None, users))
    return r
