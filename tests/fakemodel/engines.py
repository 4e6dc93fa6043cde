"""Local engines as a discovery probe sees them: Ollama, LM Studio, llama.cpp."""

from __future__ import annotations

import json
import time
import zlib
from typing import TYPE_CHECKING

from .plan import Plan, StreamError
from .replies import error_body
from .wires import Req, norm_chat

if TYPE_CHECKING:
    from .handler import Handler


def _iso(t: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + ".000000Z"


def is_loaded(m: dict) -> bool:
    return m["state"] == "loaded"


def emit_ollama(h: Handler, req: Req, p: Plan) -> None:
    """Send the turn on Ollama's own wire (/api/chat and /api/generate), as JSON lines when streamed."""
    frame = _Frames(h, req, p)
    if not req.stream:
        p.before_end()
        return h.send_json(frame.done(frame.plain(p.text, p.reasoning, p.calls)))
    h.start_stream("application/x-ndjson")
    try:
        for s in p.pieces(p.reasoning):
            h.chunk(json.dumps(frame.plain("", s)) + "\n")
        for s in p.pieces(p.text):
            h.chunk(json.dumps(frame.plain(s)) + "\n")
        if p.calls:
            p.step()
            h.chunk(json.dumps(frame.plain("", "", p.calls)) + "\n")
        p.before_end()
        h.chunk(json.dumps(frame.done(frame.plain(""))) + "\n")
    except StreamError:
        h.chunk(json.dumps({"error": "fakemodel stream error"}) + "\n")
    return h.end_stream()


class _Frames:
    """The objects of an Ollama answer."""

    def __init__(self, h: Handler, req: Req, p: Plan) -> None:
        self.generate = h.route == "/api/generate"
        self.model, self.p = req.model, p
        self.ns = int(max(0.001, p.seconds()) * 1e9)

    def plain(self, text: str, thinking: str = "", calls: list[dict] | None = None) -> dict:
        d: dict = {"model": self.model, "created_at": _iso(time.time()), "done": False}
        if self.generate:
            return {**d, "response": text}
        message: dict = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if calls:
            message["tool_calls"] = [{"function": _function(i, c)} for i, c in enumerate(calls)]
        return {**d, "message": message}

    def done(self, frame: dict) -> dict:
        times = {"total_duration": self.ns, "load_duration": 1_000_000, "eval_duration": self.ns}
        counts = {"prompt_eval_count": self.p.usage.prompt, "eval_count": self.p.usage.output}
        reason = "length" if self.p.finish == "length" else "stop"
        rest = {**times, **counts, "prompt_eval_duration": self.ns // 4}
        return {**frame, "done": True, "done_reason": reason, **rest}


def _function(i: int, c: dict) -> dict:
    args = c["arguments"] if isinstance(c["arguments"], dict) else {"input": c["arguments"]}
    return {"index": i, "name": c["name"], "arguments": args}


def r_ollama_chat(h: Handler) -> None:
    b = h.body_json()
    if h.route == "/api/generate":
        b = dict(b, messages=[{"role": "user", "content": b.get("prompt", "")}])
        if not b.get("prompt"):
            return h.send_json(
                {
                    "model": b.get("model"),
                    "created_at": _iso(time.time()),
                    "response": "",
                    "done": True,
                    "done_reason": "load",
                }
            )
    h.run_turn(norm_chat(b, "ollama"), emit_ollama)


def model_list(persona: str, models: list[dict]) -> dict:
    """GET /v1/models of an OpenAI-compatible server."""
    data = []
    for m in models[:1] if persona == "llamacpp" else models:
        d: dict = {"id": m["id"], "object": "model", "created": 1767225600, "owned_by": "fakemodel"}
        if persona in ("all", "llamacpp"):
            d.update(
                owned_by="llamacpp",
                meta={
                    "n_ctx_train": m["context"],
                    "n_ctx": m["loaded_context"],
                    "n_params": 8190735360,
                    "size": m["size"],
                },
            )
        elif persona == "ollama":
            d["owned_by"] = "library"
        elif persona == "github":
            d.update(_of_copilot(m))
        elif persona == "lmstudio":
            d.update(owned_by="organization_owner")
            d.pop("created")
        data.append(d)
    return {"object": "list", "data": data}


def _of_copilot(m: dict) -> dict:
    """What Copilot's own server tells of a model."""
    limits = {"max_context_window_tokens": m["context"], "max_output_tokens": 8192}
    supports = {"tool_calls": True, "streaming": True, "parallel_tool_calls": True}
    return {
        "name": m["id"],
        "vendor": "fakemodel",
        "version": m["id"],
        "preview": False,
        "model_picker_enabled": True,
        "policy": {"state": "enabled"},
        "billing": {"is_premium": False, "multiplier": 0},
        "supported_endpoints": ["/chat/completions"],
        "capabilities": {"family": m["id"], "type": "chat", "limits": limits, "supports": supports},
    }


def _ollama_details(m: dict) -> dict:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": m["family"],
        "families": [m["family"]],
        "parameter_size": m["params"],
        "quantization_level": m["quant"],
    }


def r_tags(h: Handler) -> None:
    if h.state.persona == "llamacpp":
        return h.send_json(model_list("llamacpp", h.state.script.models))  # llama-server answers this too
    h.send_json(
        {
            "models": [
                {
                    "name": m["id"],
                    "model": m["id"],
                    "modified_at": "2026-01-01T00:00:00.000000Z",
                    "size": m["size"],
                    "digest": f"{zlib.crc32(m['id'].encode()):064x}",
                    "details": _ollama_details(m),
                }
                for m in h.state.script.models
            ]
        }
    )


def r_ps(h: Handler) -> None:
    h.send_json(
        {
            "models": [
                {
                    "name": m["id"],
                    "model": m["id"],
                    "size": m["vram"],
                    "digest": f"{zlib.crc32(m['id'].encode()):064x}",
                    "details": _ollama_details(m),
                    "expires_at": _iso(time.time() + 300),
                    "size_vram": m["vram"],
                    "context_length": m["loaded_context"],
                }
                for m in h.state.script.models
                if is_loaded(m)
            ]
        }
    )


def r_show(h: Handler) -> None:
    b = h.body_json()
    name = b.get("model") or b.get("name")
    m = h.state.script.model(name)
    if m is None:
        return h.send_json({"error": f"model '{name}' not found"}, 404)
    caps = ["completion"] + [
        c for c, k in (("tools", "tools"), ("vision", "vision"), ("thinking", "thinking")) if m[k]
    ]
    h.send_json(
        {
            "license": "",
            "modelfile": f"FROM {m['id']}\nPARAMETER num_ctx {m['loaded_context']}\n",
            "parameters": f"num_ctx                        {m['loaded_context']}\n",
            "template": "{{ .Prompt }}",
            "details": _ollama_details(m),
            "model_info": {
                "general.architecture": m["family"],
                "general.parameter_count": 8190735360,
                f"{m['family']}.context_length": m["context"],
                f"{m['family']}.block_count": 36,
                f"{m['family']}.embedding_length": 4096,
            },
            "capabilities": caps,
            "modified_at": "2026-01-01T00:00:00.000000Z",
        }
    )


def r_lm_v0(h: Handler, mid: str | None = None) -> None:
    def one(m: dict) -> dict:
        loaded = is_loaded(m)
        d = {
            "id": m["id"],
            "object": "model",
            "type": m["type"],
            "publisher": "fakemodel",
            "arch": m["family"],
            "compatibility_type": "gguf",
            "quantization": m["quant"],
            "state": "loaded" if loaded else "not-loaded",
            "max_context_length": m["context"],
        }
        if loaded:
            d["loaded_context_length"] = m["loaded_context"]
        if m["tools"]:
            d["capabilities"] = ["tool_use"]
        return d

    if mid:
        m = h.state.script.model(mid)
        return (
            h.send_json(one(m)) if m else h.send_json(error_body("chat", 404, f"Model {mid} not found"), 404)
        )
    h.send_json({"object": "list", "data": [one(m) for m in h.state.script.models]})


def r_version(h: Handler) -> None:
    h.send_json({"version": h.state.script.ollama_version})


def r_health(h: Handler) -> None:
    h.send_json({"status": "ok"})


def _slot(h: Handler, i: int, busy: bool) -> dict:
    m = h.state.script.models[0]
    return {
        "id": i,
        "id_task": i if busy else -1,
        "n_ctx": m["loaded_context"],
        "speculative": False,
        "is_processing": busy,
        "params": {
            "n_predict": -1,
            "temperature": 0.8,
            "top_k": 40,
            "top_p": 0.95,
            "stream": True,
            "chat_format": "Content-only",
        },
        "next_token": {"has_next_token": True, "has_new_line": False, "n_remain": -1, "n_decoded": 0},
    }


def r_props(h: Handler) -> None:
    m = h.state.script.models[0]
    h.send_json(
        {
            "default_generation_settings": _slot(h, 0, False),
            "total_slots": h.state.script.slots or 4,
            "model_alias": m["id"],
            "model_path": f"models/{m['id']}-{m['quant']}.gguf",
            "modalities": {"vision": m["vision"], "audio": False},
            "chat_template": "{{ messages }}",
            "chat_template_caps": {"supports_tools": m["tools"]},
            "bos_token": "<s>",
            "eos_token": "</s>",
            "build_info": "b0000-fakemodel",
            "is_sleeping": not is_loaded(m),
        }
    )


def r_slots(h: Handler) -> None:
    st = h.state
    n = st.script.slots or 4
    with st.lock:
        busy = st.busy
    if h.query.get("fail_on_no_slot") and busy >= n:
        return h.send_json(
            {"error": {"code": 503, "message": "no slot available", "type": "unavailable_error"}}, 503
        )
    h.send_json([_slot(h, i, i < busy) for i in range(n)])
