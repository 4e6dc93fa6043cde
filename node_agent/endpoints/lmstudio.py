"""Reads an LM Studio server, of 0.4 and later or older: its models, and which are loaded. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.endpoints.answers import (
    Mismatch,
    ServerClient,
    ServerReply,
    flag,
    inner,
    items,
    makes_vectors,
    number,
    word,
)
from node_agent.endpoints.answers import size_of as parameters_of
from node_agent.endpoints.fingerprint import LIST, LM0, LM1
from node_agent.endpoints.reading import Memory, ServerReading
from node_agent.wire.endpoint import ModelFact, ModelWire, Residence


def read(ask: ServerClient, memory: Memory) -> ServerReading:
    """One question with a new server. Raises Silent, Mismatch."""
    answer = ask.get(LM1)
    if answer.status == 401:
        return ServerReading(locked=True)
    if isinstance(answer.fields.get("models"), list):
        models = tuple(_new(one) for one in items(answer.fields, "models") if word(one, "key"))
        return ServerReading(None, models, (ModelWire.CHAT, ModelWire.RESPONSES))
    return ServerReading(None, _older(ask.get(LM0), ask))


def _older(answer: ServerReply, ask: ServerClient) -> tuple[ModelFact, ...]:
    if isinstance(answer.fields.get("data"), list):
        return tuple(_old(one) for one in items(answer.fields, "data") if word(one, "id"))
    listed = ask.get(LIST).fields
    if listed.get("object") != "list":
        raise Mismatch("no list of models")
    names = [str(word(one, "id")) for one in items(listed, "data") if word(one, "id")]
    return tuple(ModelFact(id=name, embedding=makes_vectors(name)) for name in names)


def _new(one: Mapping[str, Any]) -> ModelFact:
    """A model that is not loaded: the server does not say its context, so it is unknown."""
    loaded = [instance for instance in one.get("loaded_instances") or [] if isinstance(instance, dict)]
    config, can = inner(loaded[0], "config") if loaded else {}, inner(one, "capabilities")
    return ModelFact(
        id=str(word(one, "key")),
        family=word(one, "architecture"),
        parameters=parameters_of(word(one, "params_string")),
        quantisation=word(inner(one, "quantization"), "name"),
        ctx_usable=number(config, "context_length"),
        ctx_max=number(one, "max_context_length"),
        residence=Residence.LOADED if loaded else Residence.NOT_LOADED,
        size=number(one, "size_bytes"),
        slots=number(config, "parallel"),
        tools=flag(can, "trained_for_tool_use"),
        vision=flag(can, "vision"),
        embedding=one.get("type") == "embedding",
    )


def _old(one: Mapping[str, Any]) -> ModelFact:
    can, kind = one.get("capabilities"), one.get("type")
    is_loaded = one.get("state") == "loaded"
    return ModelFact(
        id=str(word(one, "id")),
        family=word(one, "arch"),
        quantisation=word(one, "quantization"),
        ctx_usable=number(one, "loaded_context_length") if is_loaded else None,
        ctx_max=number(one, "max_context_length"),
        residence=Residence.LOADED if is_loaded else Residence.NOT_LOADED,
        tools="tool_use" in can if isinstance(can, list) else None,
        vision=kind == "vlm",
        embedding=kind == "embeddings",
    )
