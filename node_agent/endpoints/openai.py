"""Reads servers that only list their models, and vLLM and SGLang, which report more. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.endpoints.answers import (
    Mismatch,
    ServerClient,
    Silent,
    inner,
    items,
    makes_vectors,
    number,
    word,
)
from node_agent.endpoints.fingerprint import LIST
from node_agent.endpoints.reading import Memory, ServerReading
from node_agent.wire.endpoint import Dialect, ModelFact, ModelWire, Residence

_WIRES = {"/v1/responses": ModelWire.RESPONSES, "/v1/messages": ModelWire.MESSAGES}


def read(ask: ServerClient, memory: Memory, dialect: Dialect) -> ServerReading:
    """Raises Silent, Mismatch."""
    answer = ask.get(LIST)
    if answer.status in (401, 403):
        return ServerReading(locked=True)
    if answer.fields.get("object") != "list":
        raise Mismatch("no list of models")
    listed = [one for one in items(answer.fields, "data") if word(one, "id")]
    if dialect is Dialect.OPENAI:
        return ServerReading(models=tuple(_model(one, None) for one in listed))
    if memory.wires is None:
        memory.wires = _wires(ask)
    models = tuple(_model(one, Residence.LOADED) for one in listed)
    return ServerReading(_version(ask) if dialect is Dialect.VLLM else None, models, memory.wires)


def _model(one: Mapping[str, Any], residence: Residence | None) -> ModelFact:
    name = str(word(one, "id"))
    usable = number(one, "max_model_len")
    return ModelFact(id=name, ctx_usable=usable, residence=residence, embedding=makes_vectors(name))


def _wires(ask: ServerClient) -> tuple[ModelWire, ...]:
    """The APIs by the server's own description; read once, because it is long."""
    try:
        paths = inner(ask.get("/openapi.json").fields, "paths")
    except Silent:
        paths = {}
    return (ModelWire.CHAT, *(wire for path, wire in _WIRES.items() if path in paths))


def _version(ask: ServerClient) -> str | None:
    try:
        return word(ask.get("/version").fields, "version")
    except Silent:
        return None
