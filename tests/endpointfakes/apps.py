"""What each server answers, by its own documents and sources, and which questions change what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .server import Asked, Reply

_GENERATES = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")


def ollama_model(name: str, **more: Any) -> dict[str, Any]:
    """As `/api/tags` lists one."""
    details = {
        "parent_model": "", "format": "gguf", "family": "qwen3", "families": ["qwen3"],
        "parameter_size": "8.2B", "quantization_level": "Q4_K_M",
    }  # fmt: skip
    own = {"name": name, "model": name, "modified_at": "2026-08-14T10:04:07.6Z", "size": 5_225_388_164}
    return {**own, "digest": f"500a1f067a9f{abs(hash(name)) % 10**6}", "details": details, **more}


@dataclass
class Ollama:
    """`loaded`: by name, what `/api/ps` says. Any call to a model loads it, and an empty one unloads."""

    version: str = "0.14.2"
    models: list[dict[str, Any]] = field(default_factory=lambda: [ollama_model("qwen3:8b")])
    loaded: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    harm: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        match asked.method, asked.path:
            case "GET", "/api/version":
                return Reply(200, {"version": self.version})
            case "GET", "/api/tags":
                return Reply(200, {"models": self.models})
            case "GET", "/api/ps":
                return Reply(200, {"models": [{"name": n, "model": n, **v} for n, v in self.loaded.items()]})
            case "POST", "/api/show":
                return self._show(asked.body["model"])
            case "GET", "/v1/models":
                data = [{"id": m["name"], "object": "model", "owned_by": "library"} for m in self.models]
                return Reply(200, {"object": "list", "data": data})
            case "GET", "/":
                return Reply(200, "Ollama is running")
            case "POST", path if path.startswith(("/api/", *_GENERATES)):
                self.harm.append(f"POST {path}")
                return Reply(200, {"done": True})
        return Reply(404, "404 page not found")

    def _show(self, name: str) -> Reply:
        if name not in {one["name"] for one in self.models}:
            return Reply(404, {"error": f"model '{name}' not found"})
        info = {
            "general.architecture": "qwen3",
            "general.parameter_count": 8_190_735_360,
            "qwen3.context_length": 40_960,
        }
        usual = {"capabilities": ["completion", "tools", "thinking"], "model_info": info, "template": "{{ }}"}
        return Reply(200, {**usual, "details": {}, **self.shown.get(name, {})})


def lmstudio_model(key: str, context: int | None = None, **more: Any) -> dict[str, Any]:
    """As `/api/v1/models` lists one; loaded with that context, or not at all."""
    config = {"context_length": context, "parallel": 4, "eval_batch_size": 512, "flash_attention": True}
    return {
        "type": "llm", "publisher": "qwen", "key": key, "display_name": key, "architecture": "qwen3moe",
        "quantization": {"name": "Q4_K_M", "bits_per_weight": 4}, "size_bytes": 18_632_044_960,
        "params_string": "30B", "max_context_length": 262_144, "format": "gguf",
        "loaded_instances": [{"id": key, "config": config}] if context else [],
        "capabilities": {"vision": False, "trained_for_tool_use": True}, **more,
    }  # fmt: skip


@dataclass
class LmStudio:
    """0.4 and later. It says 200 to all that it does not know, and logs it; a call loads, and may evict."""

    models: list[dict[str, Any]] = field(
        default_factory=lambda: [lmstudio_model("qwen/qwen3-coder-30b", 32_768)]
    )
    token: str = ""
    harm: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            error = {"message": "Malformed LM Studio API token", "type": "invalid_request_error"}
            return Reply(401, {"error": {**error, "param": None, "code": "invalid_api_key"}})
        match asked.method, asked.path:
            case "GET", "/api/v1/models":
                return Reply(200, {"models": self.models})
            case "GET", "/v1/models":
                data = [
                    {"id": m["key"], "object": "model", "owned_by": "organization_owner"} for m in self.models
                ]
                return Reply(200, {"object": "list", "data": data})
            case "POST", path if path in _GENERATES or path.startswith("/api/v1/"):
                self.harm.append(f"POST {path}")
                return Reply(200, {})
        self.log.append(
            f"[ERROR] Unexpected endpoint or method. ({asked.method} {asked.path}). Returning 200 anyway"
        )
        return Reply(200, {"error": f"Unexpected endpoint or method. ({asked.method} {asked.path})"})


@dataclass
class LmStudioOld(LmStudio):
    """0.3.6 to 0.3: the older list alone."""

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/api/v1/models":
            self.log.append(
                "[ERROR] Unexpected endpoint or method. (GET /api/v1/models). Returning 200 anyway"
            )
            return Reply(200, {"error": "Unexpected endpoint or method. (GET /api/v1/models)"})
        if asked.path != "/api/v0/models":
            return super().answer(asked)
        usual = {
            "object": "model",
            "publisher": "qwen",
            "compatibility_type": "gguf",
            "quantization": "Q4_K_M",
        }
        loaded = {"state": "loaded", "max_context_length": 32_768, "loaded_context_length": 4_096}
        can = ["tool_use"]
        data = [
            {"id": "qwen2.5", "type": "llm", "arch": "qwen2", **usual, **loaded, "capabilities": can},
            {"id": "pixtral", "type": "vlm", "arch": "llava", **usual, "state": "not-loaded"},
            {"id": "nomic-embed", "type": "embeddings", "arch": "bert", **usual, "state": "not-loaded"},
        ]  # fmt: skip
        return Reply(200, {"object": "list", "data": data})


@dataclass
class RouterLlamaCpp:
    """`llama-server` without a model: GETs want `?model=`, and load it unless they say `autoload=false`."""

    server: str = "llama.cpp"
    states: dict[str, str] = field(
        default_factory=lambda: {"big": "loaded", "small": "unloaded", "idle": "sleeping"}
    )
    harm: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        name = asked.query.get("model")
        if name and asked.query.get("autoload") != "false" and self.states.get(name) != "loaded":
            self.harm.append(f"{asked.method} {asked.path} loads {name}")
        match asked.method, asked.path:
            case "GET", "/models" | "/v1/models":
                data = [
                    {"id": n, "object": "model", "owned_by": "llamacpp", "status": {"value": s, "args": []}}
                    for n, s in self.states.items()
                ]
                return Reply(200, {"object": "list", "data": data})
            case "GET", "/props" if not name:
                return Reply(200, {"role": "router", "max_instances": 4, "models_autoload": True})
            case "GET", "/props" if self.states.get(str(name)) == "loaded":
                caps = {"supports_tool_calls": True}
                settings = {"n_ctx": 16_384}
                return Reply(
                    200,
                    {"total_slots": 2, "default_generation_settings": settings, "chat_template_caps": caps},
                )
            case "POST", path:
                self.harm.append(f"POST {path}")
                return Reply(200, {"success": True})
        error = {"code": 404, "message": "File Not Found", "type": "not_found_error"}
        return Reply(404, {"error": error})


@dataclass
class LoadingLlamaCpp:
    """While it loads its model it says 503 to all."""

    server: str = "llama.cpp"
    harm: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        if asked.method == "POST":
            self.harm.append(f"POST {asked.path}")
        if asked.path == "/v1/models":
            return Reply(200, {"object": "list", "data": [{"id": "m", "object": "model", "meta": None}]})
        return Reply(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})


@dataclass
class Vllm:
    """vLLM's server: what it lists is in memory; it describes itself in `/openapi.json`."""

    key: str = ""
    owner: str = "vllm"
    server: str = "uvicorn"
    harm: list[str] = field(default_factory=list)
    queue: int = 0
    """Calls that wait, in its figures."""

    def answer(self, asked: Asked) -> Reply:
        if (
            self.key
            and asked.path.startswith("/v1")
            and asked.headers.get("authorization") != f"Bearer {self.key}"
        ):
            return Reply(401, {"error": "Unauthorized"})
        match asked.method, asked.path:
            case "GET", "/v1/models":
                card: dict[str, Any] = {"id": "Qwen/Qwen3-8B", "object": "model", "max_model_len": 40_960}
                card["owned_by"] = self.owner
                return Reply(200, {"object": "list", "data": [card]})
            case "GET", "/metrics" if self.owner == "vllm":
                return Reply(200, f'vllm:num_requests_waiting{{engine="0"}} {self.queue}.0\n')
            case "GET", "/version" if self.owner == "vllm":
                return Reply(200, {"version": "0.11.0"})
            case "GET", "/openapi.json":
                return Reply(200, {"openapi": "3.1.0", "paths": {p: {} for p in _GENERATES[:4]}})
            case "POST", path:
                self.harm.append(f"POST {path}")
        return Reply(404, {"detail": "Not Found"})


@dataclass
class Sglang(Vllm):
    """The same list by another owner; it tells no version at that path."""

    owner: str = "sglang"


@dataclass
class Generic:
    """A server of which nothing but OpenAI's list is known."""

    models: tuple[str, ...] = ("some-model", "text-embedding-3")
    harm: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) == ("GET", "/v1/models"):
            return Reply(
                200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            )
        if asked.method == "POST":
            self.harm.append(f"POST {asked.path}")
        return Reply(404, "not found")


@dataclass
class WebSite:
    """Whatever else users have at such a port; `status` for all paths."""

    status: int = 200
    body: Any = "<html>hello</html>"
    harm: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        return Reply(self.status, self.body)
