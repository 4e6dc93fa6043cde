"""Reads a llama.cpp server with one model, or a router of several; wakes no sleeping model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from node_agent.endpoints.answers import (
    Mismatch,
    ServerClient,
    ServerReply,
    Silent,
    flag,
    inner,
    items,
    makes_vectors,
    number,
    word,
)
from node_agent.endpoints.fingerprint import LIST, PROPS
from node_agent.endpoints.reading import Memory, ServerReading, Slot, SlotCount
from node_agent.wire.endpoint import ModelFact, ModelWire, Residence

ROUTED = f"{LIST}?autoload=false"
_WIRES = (("/v1/responses", ModelWire.RESPONSES), ("/v1/messages", ModelWire.MESSAGES))
_RESIDENCES = {"loaded": Residence.LOADED, "sleeping": Residence.ASLEEP}


def read(ask: ServerClient, memory: Memory) -> ServerReading:
    """Raises Silent, Mismatch."""
    listed = ask.get(ROUTED)
    if listed.status == 401:
        return ServerReading(locked=True)
    models = items(listed.fields, "data")
    if any("status" in one for one in models):
        return _router(ask, models)
    props = ask.get(PROPS)
    if props.status == 503 or listed.status == 503:  # it loads its model, and will have slots then
        return ServerReading(models=tuple(_model(one, {}, Residence.NOT_LOADED) for one in models))
    if props.fields.get("role") == "router":
        return _router(ask, items(ask.get("/models?autoload=false").fields, "data"))
    return _single(ask, memory, models, props)


def _single(
    ask: ServerClient, memory: Memory, models: list[Mapping[str, Any]], props: ServerReply
) -> ServerReading:
    fields, asleep = props.fields, flag(props.fields, "is_sleeping") is True
    total = number(fields, "total_slots")
    if total is None:
        raise Mismatch("no slots")
    seen = _slots(ask, "/slots", total) if memory.asks_slots and not asleep else None
    if memory.wires is None and not asleep and not (seen and seen.silent):
        memory.wires = _wires(ask)
    residence = Residence.ASLEEP if asleep else Residence.LOADED
    return ServerReading(
        version=word(fields, "build_info"),
        models=tuple(_model(one, fields, residence) for one in models if word(one, "id")),
        wires=memory.wires or (ModelWire.CHAT,),
        slots=total,
        slots_free=None if seen is None or seen.silent else max(total - len(seen.busy), 0),
        seen=seen,
    )


def _router(ask: ServerClient, models: list[Mapping[str, Any]]) -> ServerReading:
    """Each loaded one is asked for itself; `autoload=false`, or the question would load it."""
    found = []
    for one in models:
        name, status = word(one, "id"), inner(one, "status").get("value")
        residence = _RESIDENCES.get(str(status), Residence.NOT_LOADED)
        fields: Mapping[str, Any] = {}
        if residence is Residence.LOADED and name:
            fields = ask.get(f"{PROPS}?model={quote(name, safe='')}&autoload=false").fields
        if name:
            found.append(_model(one, fields, residence))
    return ServerReading(models=tuple(found))


def _slots(ask: ServerClient, path: str, total: int) -> SlotCount | None:
    """None where it does not show them."""
    try:
        answer = ask.get(path)
    except Silent:
        return SlotCount(total, silent=True)
    if answer.status != 200 or not isinstance(answer.value, list):
        return None
    busy = [one for one in answer.value if isinstance(one, dict) and one.get("is_processing") is True]
    return SlotCount(total, tuple(_slot(one) for one in busy))


def _slot(one: Mapping[str, Any]) -> Slot:
    tokens = one.get("next_token")
    first = tokens[0] if isinstance(tokens, list) and tokens and isinstance(tokens[0], dict) else {}
    task, processed = number(one, "id_task"), number(one, "n_prompt_tokens_processed")
    return Slot(task or 0, processed or 0, number(first, "n_decoded") or 0)


def _wires(ask: ServerClient) -> tuple[ModelWire, ...]:
    """An empty question, once: a wire that is there says what it misses, before any model hears of it."""
    there = [wire for path, wire in _WIRES if "is required" in str(inner(ask.post(path, {}).value, "error"))]
    return (ModelWire.CHAT, *there)


def _model(one: Mapping[str, Any], props: Mapping[str, Any], residence: Residence) -> ModelFact:
    meta, caps = inner(one, "meta"), inner(props, "chat_template_caps")
    name = str(word(one, "id"))
    usable = number(inner(props, "default_generation_settings"), "n_ctx") or number(meta, "n_ctx")
    return ModelFact(
        id=_short(name),
        parameters=number(meta, "n_params"),
        quantisation=word(meta, "ftype"),
        ctx_usable=usable,
        ctx_max=number(meta, "n_ctx_train"),
        residence=residence,
        size=number(meta, "size"),
        slots=number(props, "total_slots"),
        tools=flag(caps, "supports_tool_calls"),
        vision=flag(inner(props, "modalities"), "vision"),
        embedding=makes_vectors(name),
    )


def _short(name: str) -> str:
    """One without an alias goes by its file's path; it answers to any name."""
    is_path = name.endswith(".gguf") or name.startswith("/")
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] if is_path else name
