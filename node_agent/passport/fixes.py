"""What mends a model that failed a check, in the words of the server that runs it. Pure."""

from __future__ import annotations

from node_agent.wire.endpoint import Dialect, EndpointFact, ModelFact

LEAST_CONTEXT = 16_384
"""Tokens that a coding agent needs: its own words and tools take the half of it, a few files the rest."""
WANTED_CONTEXT = 32_768


def for_context(endpoint: EndpointFact, model: ModelFact) -> str:
    """How that server is told to give a call more; for a model that has no more, another one."""
    if model.ctx_max is not None and model.ctx_max < LEAST_CONTEXT:
        return f"use another model: {model.id} was made for {model.ctx_max} tokens at most"
    want = min(WANTED_CONTEXT, model.ctx_max or WANTED_CONTEXT)
    match endpoint.dialect:
        case Dialect.OLLAMA:
            return (
                f"start Ollama with OLLAMA_CONTEXT_LENGTH={want}, or make a model of it: "
                f"a Modelfile with FROM {model.id} and PARAMETER num_ctx {want}, then "
                f"ollama create {_short(model.id)}-32k -f Modelfile"
            )
        case Dialect.LLAMACPP:
            slots = max(endpoint.slots or 1, 1)
            shared = f" --parallel {slots} (they share it)" if slots > 1 else ""
            return f"start llama-server with -c {want * slots}{shared}"
        case Dialect.LMSTUDIO:
            return (
                f"lms load {model.id} --context-length {want}, or set the context length where LM Studio "
                "loads it"
            )
        case Dialect.VLLM:
            return f"start vLLM with --max-model-len {want}"
        case Dialect.SGLANG:
            return f"start SGLang with --context-length {want}"
        case Dialect.OPENAI:
            return f"give the model a context of {want} tokens where its server is started"


def for_tools(endpoint: EndpointFact, model: ModelFact) -> str:
    """Most models that make no calls cannot; on some servers it must be switched on."""
    another = "use a model that calls tools"
    match endpoint.dialect:
        case Dialect.OLLAMA:
            return f"{another}: those with the word tools in `ollama show MODEL`, as qwen3-coder"
        case Dialect.LLAMACPP:
            return f"start llama-server with --jinja and a chat template that knows tools, or {another}"
        case Dialect.LMSTUDIO:
            return f"{another}: those with the hammer in LM Studio's list"
        case Dialect.VLLM:
            return f"start vLLM with --enable-auto-tool-choice and --tool-call-parser PARSER, or {another}"
        case Dialect.SGLANG:
            return f"start SGLang with --tool-call-parser PARSER, or {another}"
        case Dialect.OPENAI:
            return another


def for_edits(endpoint: EndpointFact, model: ModelFact) -> str:
    return f"use a larger model, or one made for code; {model.id} can still be asked by read-only agents"


def for_answers(endpoint: EndpointFact, model: ModelFact) -> str:
    return f"look at the server's log, restart it at {endpoint.at}, then: pancode models test --again"


def for_key(endpoint: EndpointFact) -> str:
    return endpoint.fix or f"put the key of {endpoint.name} into secrets.json and name it in endpoints.json"


def _short(model: str) -> str:
    return model.rpartition("/")[2].replace(":", "-")
