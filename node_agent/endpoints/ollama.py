"""Reads an Ollama server: installed and loaded models, and the context that a call really gets. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from node_agent.endpoints.answers import (
    Mismatch,
    ServerClient,
    ServerReply,
    inner,
    items,
    number,
    size_of,
    word,
)
from node_agent.endpoints.reading import Memory, ServerReading
from node_agent.wire.endpoint import ModelFact, ModelWire, Residence

ASSUMED_CONTEXT = 4096
"""Its default on most machines. A longer prompt is cut from its front, without a word."""
ASSUMED_SLOTS = 1
MOST_SHOWN = 40
"""Models that are asked about one by one; each once."""
_RESPONSES, _MESSAGES = (0, 13, 3), (0, 14, 0)


def read(ask: ServerClient, memory: Memory) -> ServerReading:
    """Nothing of this loads a model. Raises Silent, Mismatch."""
    version = word(ask.get("/api/version").fields, "version")
    if version is None:
        raise Mismatch("no version")
    loaded = {one.get("name"): one for one in items(ask.get("/api/ps").fields, "models")}
    tags = items(ask.get("/api/tags").fields, "models")
    tags.sort(key=lambda one: one.get("name") not in loaded)
    models = tuple(
        _model(tag, loaded.get(tag.get("name")), _shown(ask, tag, memory, number))
        for number, tag in enumerate(tags)
        if word(tag, "name")
    )
    return ServerReading(version, models, wires_of(version), ASSUMED_SLOTS)


def wires_of(version: str) -> tuple[ModelWire, ...]:
    """The APIs by the server's version, because a trial would be a call."""
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    more = [(_RESPONSES, ModelWire.RESPONSES), (_MESSAGES, ModelWire.MESSAGES)]
    return (ModelWire.CHAT, ModelWire.OLLAMA, *(wire for since, wire in more if parts >= since))


def _shown(ask: ServerClient, tag: Mapping[str, Any], memory: Memory, number: int) -> Mapping[str, Any]:
    """The facts of one model, which it reads from its files: asked for once per digest."""
    name, key = str(tag["name"]), f"{tag.get('name')} {tag.get('digest')}"
    if key not in memory.shown and number < MOST_SHOWN:
        memory.shown[key] = _kept(ask.post("/api/show", {"model": name}))
    found = memory.shown.get(key)
    return found if isinstance(found, dict) else {}


def _kept(answer: ServerReply) -> dict[str, Any]:
    """The facts without template, licence and tensors, which are long."""
    fields, info = answer.fields, inner(answer.fields, "model_info")
    arch = str(info.get("general.architecture", ""))
    return {
        "capabilities": fields.get("capabilities"),
        "ctx_max": number(info, f"{arch}.context_length"),
        "parameters": number(info, "general.parameter_count"),
        "num_ctx": _num_ctx(word(fields, "parameters")),
    }


def _num_ctx(parameters: str | None) -> int | None:
    found = re.search(r"^num_ctx\s+(\d+)", parameters or "", re.MULTILINE)
    return int(found[1]) if found else None


def _model(tag: Mapping[str, Any], loaded: Mapping[str, Any] | None, shown: Mapping[str, Any]) -> ModelFact:
    details, remote = inner(tag, "details"), word(tag, "remote_host") is not None
    can = shown.get("capabilities") or tag.get("capabilities")
    can = can if isinstance(can, list) else None
    ctx_max = shown.get("ctx_max") or number(details, "context_length")
    usable = number(loaded, "context_length") if loaded is not None else None
    if usable is None:
        usable = ctx_max if remote else shown.get("num_ctx") or ASSUMED_CONTEXT
    return ModelFact(
        id=str(word(tag, "name")),
        family=word(details, "family"),
        parameters=shown.get("parameters") or size_of(word(details, "parameter_size")),
        quantisation=word(details, "quantization_level"),
        ctx_usable=usable,
        ctx_max=ctx_max,
        residence=Residence.LOADED if loaded is not None or remote else Residence.NOT_LOADED,
        size=number(tag, "size"),
        vram=number(loaded, "size_vram") if loaded is not None else None,
        slots=ASSUMED_SLOTS,
        tools=None if can is None else "tools" in can,
        vision=None if can is None else "vision" in can,
        embedding=can is not None and "embedding" in can and "completion" not in can,
        remote=remote,
        digest=word(tag, "digest"),
    )
