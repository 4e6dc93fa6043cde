"""The setting for more context on each kind of server; coordinator and nodes give the same advice."""

from __future__ import annotations

import shlex

from node_agent.wire.models.endpoint import Dialect, EndpointFact, ModelFact

SETTINGS = {
    Dialect.OLLAMA: "OLLAMA_CONTEXT_LENGTH={tokens}",
    Dialect.LLAMACPP: "--ctx-size {tokens}",
    Dialect.LMSTUDIO: "--context-length {tokens}",
    Dialect.VLLM: "--max-model-len {tokens}",
    Dialect.SGLANG: "--context-length {tokens}",
}
"""Of each server that has one, as it is written."""
_SERVERS = {
    Dialect.OLLAMA: "Ollama with ",
    Dialect.LLAMACPP: "llama-server (its slots share it) with ",
    Dialect.LMSTUDIO: "LM Studio: lms load MODEL ",
    Dialect.VLLM: "vLLM with ",
    Dialect.SGLANG: "SGLang with ",
}


def widen_any(tokens: int) -> str:
    """The same where nobody knows which server it is: the setting of each."""
    settings = (name + SETTINGS[dialect].format(tokens=tokens) for dialect, name in _SERVERS.items())
    return "; ".join(settings)


def widen(endpoint: EndpointFact, model: ModelFact, least: int, wanted: int) -> str:
    """The setting that gives a call `wanted` tokens if it can; another model where `least` is too much."""
    if model.ctx_max is not None and model.ctx_max < least:
        return f"use another model: {model.id} was made for {model.ctx_max} tokens at most"
    tokens, name = min(wanted, model.ctx_max or wanted), shlex.quote(model.id)
    setting = SETTINGS.get(endpoint.dialect, "").format(tokens=tokens)
    match endpoint.dialect:
        case Dialect.OLLAMA:
            return (
                f"start {_SERVERS[Dialect.OLLAMA]}{setting}, or make a model of it: "
                f"a Modelfile with FROM {model.id} and PARAMETER num_ctx {tokens}, then "
                f"ollama create {shlex.quote(_short(model.id))}-{tokens // 1024}k -f Modelfile"
            )
        case Dialect.LLAMACPP:
            slots = max(model.slots or endpoint.slots or 1, 1)
            shared = f" --parallel {slots} (they share it)" if slots > 1 else ""
            all_slots = SETTINGS[Dialect.LLAMACPP].format(tokens=tokens * slots)
            return f"start llama-server with {all_slots}{shared}"
        case Dialect.LMSTUDIO:
            return f"lms load {name} {setting}, or set the context length where LM Studio loads it"
        case Dialect.VLLM | Dialect.SGLANG:
            return f"start {_SERVERS[endpoint.dialect]}{setting}"
        case Dialect.OPENAI:
            return f"give the model a context of {tokens} tokens where its server is started"


def _short(model: str) -> str:
    return model.rpartition("/")[2].replace(":", "-")
