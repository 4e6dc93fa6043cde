"""Fixes for a model that failed a check, in the words of the server that runs it. Pure."""

from __future__ import annotations

from node_agent.wire.endpoint import Dialect, EndpointFact, ModelFact, widen

LEAST_CONTEXT = 16_384
"""Tokens that a coding agent needs: its own words and tools take the half of it, a few files the rest."""
WANTED_CONTEXT = 32_768


def for_context(endpoint: EndpointFact, model: ModelFact) -> str:
    """The setting of that server for more context; for a model that has no more, another model."""
    return widen(endpoint, model, LEAST_CONTEXT, WANTED_CONTEXT)


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
