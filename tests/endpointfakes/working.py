"""A model server that also works: what is loaded answers by a script, what would load or evict is harm."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .apps import LmStudio, Ollama, RouterLlamaCpp, Vllm, lmstudio_model, ollama_model
from .server import App, Asked, Reply

MARK = r"\[\[work\]\]"
CHAT = "/v1/chat/completions"
CHANGES = ("keep_alive", "options", "num_ctx", "ttl", "context_length", "draft_model")
"""In a call's body: with another value than the model was loaded with the server loads it anew."""
PASSES: dict[str, dict[str, Any]] = {
    "passport-answer": {"text": "Hello.", "usage": {"input": 9, "output": 1}},
    "passport-context": {"text": "42", "usage": {"input": 6_900, "output": 2}},
    "passport-tool": {"call": {"name": "ping", "arguments": {"x": "ok"}}, "chunk_chars": 1},
}
"""The turns of a model that passes PanCode's own test."""
USAGE = {"input": 900, "output": 30}
WORK = [
    {"call": {"name": "read", "arguments": {"path": "notes.txt"}}, "usage": USAGE},
    {
        "call": {"name": "edit", "arguments": {"path": "notes.txt", "old": "beta", "new": "BETA"}},
        "usage": USAGE,
    },
    {"text": "Done: the work is finished.", "usage": USAGE},
]


def script_of(models: Sequence[str], turns: Mapping[str, Any]) -> dict[str, Any]:
    """For the scripted model server: by the mark in a question; one without gets the turn for `context`."""
    rules = [
        {"if": {"prompt": rf"\[\[{mark}\]\]"}, "turns": turn if isinstance(turn, list) else [turn]}
        for mark, turn in turns.items()
    ]
    return {
        "models": list(models),
        "no_tools": "turns",
        "turns": [turns["passport-context"]],
        "rules": rules,
    }


def working_script(models: Sequence[str]) -> dict[str, Any]:
    """Passes the test, and changes `notes.txt` for a task with the mark `[[work]]`."""
    return script_of(models, {**PASSES, "work": WORK})


@dataclass
class Working:
    """`app` as it answers looks; `loaded`: its models in memory; `upstream`: the scripted server's address.

    `most`: the words at which it refuses a prompt, as llama.cpp does; others cut it.
    """

    app: Any
    loaded: tuple[str, ...]
    upstream: str
    most: int | None = None
    harm: list[str] = field(default_factory=list)

    @property
    def server(self) -> str:
        return str(getattr(self.app, "server", "fake"))

    def answer(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) != ("POST", CHAT):
            reply: Reply = self.app.answer(asked)
            self.harm += [one for one in self.app.harm if one not in self.harm]
            return reply
        if self._refuses(asked):
            return Reply(401, {"error": "Unauthorized"})
        name, body = str(asked.body.get("model")), asked.body
        if name not in self.loaded:
            self.harm.append(f"a call of {name} loads it, and may evict another")
        self.harm += [f"a call of {name} sets {one}" for one in CHANGES if one in body]
        words = sum(len(str(one.get("content")).split()) for one in body["messages"])
        if self.most is not None and words > self.most:
            return Reply(400, {"error": _too_long(words, self.most)})
        return self._scripted(body)

    def _refuses(self, asked: Asked) -> bool:
        key = getattr(self.app, "key", "") or getattr(self.app, "token", "")
        return bool(key) and asked.headers.get("authorization") != f"Bearer {key}"

    def _scripted(self, body: Any) -> Reply:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.upstream}{CHAT}", data, {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            kind = {"Content-Type": answer.headers["Content-Type"]}
            return Reply(answer.status, answer.read().decode(), kind)


def _too_long(words: int, most: int) -> dict[str, Any]:
    why = "the request exceeds the available context size, try increasing it"
    told = {"code": 400, "message": why, "type": "exceed_context_size_error"}
    return {**told, "n_prompt_tokens": words, "n_ctx": most}


KEY, VLLM_PORT = "key-of-vllm", 8000
WIDE, ROUTED = 32_768, 16_384
MODELS = ("qwen3:8b", "qwen/qwen3-coder-30b", "Qwen/Qwen3-8B", "big")
"""Of Ollama, LM Studio, vLLM and a llama.cpp router, each in memory."""


def homelab(upstream: str) -> dict[int, App]:
    """Four servers at their usual ports, each but vLLM's with models that are not loaded, too."""
    loaded = {"size": 6_000, "size_vram": 5_000, "context_length": WIDE}
    ollama = Ollama(models=[ollama_model("qwen3:8b"), ollama_model("cold:7b")], loaded={"qwen3:8b": loaded})
    studio = LmStudio(models=[lmstudio_model("qwen/qwen3-coder-30b", WIDE), lmstudio_model("cold-studio")])
    apps: dict[int, Any] = {11434: ollama, 1234: studio, VLLM_PORT: Vllm(key=KEY), 8080: RouterLlamaCpp()}
    most = {8080: ROUTED}
    return {
        port: Working(app, (name,), upstream, most.get(port))
        for (port, app), name in zip(apps.items(), MODELS, strict=True)
    }
