"""The script: what the fake model answers, turn by turn."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .wires import Req


DEFAULT_MODEL = {
    "id": "fake-coder",
    "context": 131072,  # what the model was trained for
    "loaded_context": 32768,  # what the server gives it now
    "state": "loaded",  # loaded | not-loaded
    "family": "qwen3",
    "params": "8.2B",
    "quant": "Q4_K_M",
    "size": 5_200_000_000,
    "vram": 5_900_000_000,
    "tools": True,
    "vision": False,
    "thinking": False,
    "type": "llm",  # llm | vlm | embeddings
}


PERSONAS = {"all", "openai", "anthropic", "gemini", "github", "google", "ollama", "lmstudio", "llamacpp"}
FAULT_KEYS = {
    "status",
    "message",
    "type",
    "retry_after",
    "times",
    "disconnect",
    "hang",
    "hold",
    "garbage",
    "stream_error",
    "headers",
    "body",
}
TURN_KEYS = {
    "text",
    "reasoning",
    "tool",
    "args",
    "tools",
    "call",
    "calls",
    "usage",
    "latency",
    "chunk_delay",
    "chunk_chars",
    "finish",
    "fault",
    "comment",
}


class ScriptError(ValueError):
    """The script is not of the documented form."""


def _norm_models(models: Any) -> list[dict]:
    out = []
    for m in models or [DEFAULT_MODEL["id"]]:
        d = dict(DEFAULT_MODEL)
        d.update({"id": m} if isinstance(m, str) else m)
        out.append(d)
    return out


class Script:
    """A checked script.  See README.md for the format."""

    def __init__(self, data: dict | None = None):
        data = dict(data or {})
        self.raw = data
        self.models = _norm_models(data.get("models"))
        self.strict_models = bool(data.get("strict_models", False))
        self.api_key = data.get("api_key")
        self.side = data.get("side", {"text": "fakemodel side reply"})
        self.no_tools = data.get("no_tools")  # None (auto) | "side" | "turns"
        self.defaults = data.get("defaults", {})  # merged into every turn
        self.cwd = data.get("cwd")
        self.slots = int(data.get("slots", 0))  # 0 = unlimited
        self.ollama_version = data.get("ollama_version", "0.30.0")
        self.endpoint_fault = data.get("endpoint_fault")  # e.g. {"path": "/health", "status": 503}
        self.rules: list[dict] = []
        for i, r in enumerate(data.get("rules", [])):
            if "turns" not in r:
                raise ScriptError(f"rules[{i}] has no turns")
            self.rules.append(
                {
                    "name": r.get("name", f"rule{i}"),
                    "if": r.get("if", {}),
                    "turns": self._turns(r["turns"], f"rules[{i}]"),
                    "count": r.get("count", data.get("count", "tools")),
                }
            )
        self.rules.append(
            {
                "name": "default",
                "if": {},
                "turns": self._turns(data.get("turns", [{"text": "ok"}]), "turns"),
                "count": data.get("count", "tools"),
            }
        )

    @staticmethod
    def _turns(turns: Any, where: str) -> list[dict]:
        if not isinstance(turns, list) or not turns:
            raise ScriptError(f"{where}: turns must be a non-empty list")
        for i, t in enumerate(turns):
            if not isinstance(t, dict):
                raise ScriptError(f"{where}[{i}] is not an object")
            bad = set(t) - TURN_KEYS
            if bad:
                raise ScriptError(f"{where}[{i}]: unknown key(s) {sorted(bad)}")
            f = t.get("fault")
            if f is not None and (not isinstance(f, dict) or set(f) - FAULT_KEYS):
                raise ScriptError(f"{where}[{i}]: bad fault {f!r}")
        return turns

    def model(self, model_id: str | None) -> dict | None:
        for m in self.models:
            if m["id"] == model_id or model_id in m.get("aliases", []):
                return m
        return None

    def pick(self, req: Req) -> tuple[dict, int, dict]:
        """The rule, turn index and turn for a request."""
        rule = next(r for r in self.rules if _matches(r["if"], req))  # the last rule has no conditions
        calls = ("tool", "tools", "call", "calls")
        uses_tools = any(t.get(k) for t in rule["turns"] for k in calls)
        no_tools = self.no_tools or ("side" if uses_tools else "turns")
        if not req.tools and no_tools == "side":
            turn = dict(self.side)
            return {"name": "side", "turns": [turn], "if": {}}, 0, {**self.defaults, **turn}
        n = req.assistant_turns if rule["count"] == "assistant" else req.tool_results
        idx = min(n, len(rule["turns"]) - 1)
        return rule, idx, {**self.defaults, **rule["turns"][idx]}


def _matches(condition: dict, req: Req) -> bool:
    """Whether a request meets a rule's "if": texts by pattern, the rest by equality."""
    texts = {"prompt": req.user_text, "system": req.system_text, "model": req.model or ""}
    texts["heard"] = req.last_tool_result
    same = {"wire": req.wire, "has_tools": bool(req.tools)}
    patterns = (re.search(condition[k], text, re.S) for k, text in texts.items() if k in condition)
    equals = (condition[k] == v for k, v in same.items() if k in condition)
    return all(patterns) and all(equals)
