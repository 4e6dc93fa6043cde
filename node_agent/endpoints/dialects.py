"""Recognizes a model server by the form of its answers, and reads what each kind of server reports. Pure. The
port and the status are not used. LM Studio logs each unknown query, so the first match ends the queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from node_agent.endpoints.asking import (
    Mismatch,
    ServerClient,
    ServerReply,
    Silent,
    makes_vectors,
    read_count,
    read_flag,
    read_items,
    read_object,
    read_text,
    size_of,
)
from node_agent.wire.endpoint import Dialect, ModelFact, ModelWire, Residence
from node_agent.wire.model import MOST


@dataclass(frozen=True, slots=True)
class Slot:
    """A busy slot. `task`: by the server's numbering; the rest: tokens of its prompt and its answer."""

    task: int
    processed: int
    decoded: int


@dataclass(frozen=True, slots=True)
class SlotCount:
    """The slots of a server; `busy`: those at work. `silent`: the server's decoder thread did not answer."""

    total: int
    busy: tuple[Slot, ...] = ()
    silent: bool = False


@dataclass(frozen=True, slots=True)
class ServerReading:
    """The result of a check of a server. `locked`: it needs a key. `slots`: parallel calls; None: unknown."""

    version: str | None = None
    models: tuple[ModelFact, ...] = ()
    wires: tuple[ModelWire, ...] = (ModelWire.CHAT,)
    slots: int | None = None
    slots_free: int | None = None
    locked: bool = False
    seen: SlotCount | None = None
    """The slots as last seen, from which the server's progress is judged; None: they cannot be seen."""
    waiting: int | None = None
    """The calls in the server's own queue; None: not reported."""


FIRST_GAP_MS, LONGEST_GAP_MS = 600_000, 6 * 3_600_000
SILENT_LOOKS = 4
"""The number of consecutive silent checks (two minutes) for which the last reported queue stays valid."""


@dataclass(slots=True)
class Memory:
    """Facts that need not be queried again: a server's APIs, once; Ollama's facts of a model, by digest.

    Queries of slots or metrics keep an idle llama.cpp awake. So a server that none of our calls uses is
    queried at growing intervals, and can go to sleep during such an interval.
    """

    wires: tuple[ModelWire, ...] | None = None
    shown: dict[str, object] = field(default_factory=dict)
    asks_slots: bool = True
    tells_queue: bool = True
    """Whether the server may report metrics; a server without them is asked only once."""
    queue: int | None = None
    """The queue that the server reported last."""
    silences: int = 0
    """The number of silent checks since that report."""
    slots_due_ms: int = 0
    gap_ms: int = FIRST_GAP_MS

    def asked(self, seen: SlotCount | None, in_use: bool, now_ms: int) -> None:
        """Set, after this check, when the slots are queried next."""
        if seen is None:
            return
        if in_use or seen.silent or seen.busy:
            self.slots_due_ms, self.gap_ms = now_ms, FIRST_GAP_MS
            return
        self.slots_due_ms, self.gap_ms = now_ms + self.gap_ms, min(self.gap_ms * 2, LONGEST_GAP_MS)

    def unheard(self) -> int | None:
        """Return the queue of an overloaded server that did not answer: at least 1, for our own query. None:
        no queue was ever reported, or the server has been silent for too long."""
        self.silences += 1
        return None if self.queue is None or self.silences > SILENT_LOOKS else max(self.queue, 1)


VERSION, PROPS, LM1, LM0, LIST = "/api/version", "/props", "/api/v1/models", "/api/v0/models", "/v1/models"
ORDER = (VERSION, PROPS, LM1, LM0, LIST)
LMSTUDIO_PORT = 1234
"""The usual port of LM Studio: its own query comes first there, as it logs the others."""
_UNEXPECTED = "Unexpected endpoint or method"
_OWNERS = {"vllm": Dialect.VLLM, "sglang": Dialect.SGLANG, "llamacpp": Dialect.LLAMACPP}


@dataclass(frozen=True, slots=True)
class ServerKind:
    """The kind of a server. `locked`: the server requires a key that was not sent."""

    dialect: Dialect
    locked: bool = False


def identify_server(client: ServerClient, port: int, known: bool = False) -> ServerKind | None:
    """Return the kind of server; None: not a model server. `known`: the node's owner listed it as one. Raises
    Silent."""
    order = (LM1, *(path for path in ORDER if path != LM1)) if port == LMSTUDIO_PORT else ORDER
    last = None
    for path in order:
        last = client.get(path)
        dialect = _dialect_of(path, last)
        if dialect is not None:
            return ServerKind(dialect, last.status == 401)
    is_locked = last is not None and last.status in (401, 403) and (known or last.error is not None)
    return ServerKind(Dialect.OPENAI, True) if is_locked else None


def _dialect_of(path: str, answer: ServerReply) -> Dialect | None:
    if answer.server.lower() == "llama.cpp":
        return Dialect.LLAMACPP
    if isinstance(answer.error, str) and answer.error.startswith(_UNEXPECTED):
        return Dialect.LMSTUDIO
    fields = answer.fields
    if path == VERSION and fields.keys() == {"version"} and _is_version(fields["version"]):
        return Dialect.OLLAMA
    if path == PROPS and ("total_slots" in fields or fields.get("role") == "router"):
        return Dialect.LLAMACPP
    if path in (LM1, LM0) and _is_lmstudio(path, answer):
        return Dialect.LMSTUDIO
    if path == LIST and fields.get("object") == "list" and isinstance(fields.get("data"), list):
        owners = {one.get("owned_by") for one in fields["data"] if isinstance(one, dict)}
        return next((_OWNERS[str(owner)] for owner in owners if owner in _OWNERS), Dialect.OPENAI)
    return None


def _is_lmstudio(path: str, answer: ServerReply) -> bool:
    name, marks = ("models", ("key", "loaded_instances")) if path == LM1 else (
        "data", ("state", "compatibility_type"),
    )  # fmt: skip
    found = answer.fields.get(name)
    return isinstance(found, list) and all(
        isinstance(one, dict) and set(marks) <= one.keys() for one in found
    )


def _is_version(value: object) -> bool:
    return isinstance(value, str) and re.match(r"\d+\.\d+", value) is not None


_WIRE_PATHS = {"/v1/responses": ModelWire.RESPONSES, "/v1/messages": ModelWire.MESSAGES}


def _listed_model(one: Mapping[str, Any], residence: Residence | None) -> ModelFact:
    name = str(read_text(one, "id"))
    usable = read_count(one, "max_model_len")
    return ModelFact(id=name, ctx_usable=usable, residence=residence, embedding=makes_vectors(name))


def _read_version(client: ServerClient) -> str | None:
    try:
        return read_text(client.get("/version").fields, "version")
    except Silent:
        return None


ASSUMED_CONTEXT = 4096
"""The server's default context on most computers. The start of a longer prompt is silently cut off."""
ASSUMED_SLOTS = 1
MOST_SHOWN = 40
"""The maximum number of models that are queried individually, each once."""
_RESPONSES, _MESSAGES = (0, 13, 3), (0, 14, 0)


def read_ollama(client: ServerClient, memory: Memory) -> ServerReading:
    """Read an Ollama server without loading a model. Raises Silent, Mismatch."""
    version = read_text(client.get("/api/version").fields, "version")
    if version is None:
        raise Mismatch("no version")
    loaded = {one.get("name"): one for one in read_items(client.get("/api/ps").fields, "models")}
    tags = read_items(client.get("/api/tags").fields, "models")
    tags.sort(key=lambda one: one.get("name") not in loaded)
    models = tuple(
        _ollama_model(tag, loaded.get(tag.get("name")), _read_model_facts(client, tag, memory, number))
        for number, tag in enumerate(tags)
        if read_text(tag, "name")
    )
    return ServerReading(version, models, wires_of(version), ASSUMED_SLOTS)


def wires_of(version: str) -> tuple[ModelWire, ...]:
    """Return the APIs of this server version, because a trial of an API would call a model."""
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    more = [(_RESPONSES, ModelWire.RESPONSES), (_MESSAGES, ModelWire.MESSAGES)]
    return (ModelWire.CHAT, ModelWire.OLLAMA, *(wire for since, wire in more if parts >= since))


def _read_model_facts(
    client: ServerClient, tag: Mapping[str, Any], memory: Memory, number: int
) -> Mapping[str, Any]:
    """Return the facts of one model, queried once per digest, because Ollama reads them from large files."""
    name, key = str(tag["name"]), f"{tag.get('name')} {tag.get('digest')}"
    if key not in memory.shown and number < MOST_SHOWN:
        memory.shown[key] = _strip_facts(client.post("/api/show", {"model": name}))
    found = memory.shown.get(key)
    return found if isinstance(found, dict) else {}


def _strip_facts(answer: ServerReply) -> dict[str, Any]:
    """Return the facts without template, license and tensors, which are long."""
    fields, info = answer.fields, read_object(answer.fields, "model_info")
    arch = str(info.get("general.architecture", ""))
    found = re.search(r"^num_ctx\s+(\d+)", read_text(fields, "parameters") or "", re.MULTILINE)
    return {
        "capabilities": fields.get("capabilities"),
        "ctx_max": read_count(info, f"{arch}.context_length"),
        "parameters": read_count(info, "general.parameter_count"),
        "num_ctx": int(found[1]) if found else None,
    }


def _ollama_model(
    tag: Mapping[str, Any], loaded: Mapping[str, Any] | None, shown: Mapping[str, Any]
) -> ModelFact:
    details, remote = read_object(tag, "details"), read_text(tag, "remote_host") is not None
    can = shown.get("capabilities") or tag.get("capabilities")
    can = can if isinstance(can, list) else None
    ctx_max = shown.get("ctx_max") or read_count(details, "context_length")
    usable = read_count(loaded, "context_length") if loaded is not None else None
    if usable is None:
        usable = ctx_max if remote else shown.get("num_ctx") or ASSUMED_CONTEXT
    return ModelFact(
        id=str(read_text(tag, "name")),
        family=read_text(details, "family"),
        parameters=shown.get("parameters") or size_of(read_text(details, "parameter_size")),
        quantisation=read_text(details, "quantization_level"),
        ctx_usable=usable,
        ctx_max=ctx_max,
        residence=Residence.LOADED if loaded is not None or remote else Residence.NOT_LOADED,
        size=read_count(tag, "size"),
        vram=read_count(loaded, "size_vram") if loaded is not None else None,
        slots=ASSUMED_SLOTS,
        tools=None if can is None else "tools" in can,
        vision=None if can is None else "vision" in can,
        embedding=can is not None and "embedding" in can and "completion" not in can,
        remote=remote,
        digest=read_text(tag, "digest"),
    )


def read_lmstudio(client: ServerClient) -> ServerReading:
    """Read an LM Studio server; recent versions need one query. Raises Silent, Mismatch."""
    answer = client.get(LM1)
    if answer.status == 401:
        return ServerReading(locked=True)
    if isinstance(answer.fields.get("models"), list):
        models = tuple(
            _lmstudio_model(one) for one in read_items(answer.fields, "models") if read_text(one, "key")
        )
        return ServerReading(None, models, (ModelWire.CHAT, ModelWire.RESPONSES))
    return ServerReading(None, _read_older(client.get(LM0), client))


def _read_older(answer: ServerReply, client: ServerClient) -> tuple[ModelFact, ...]:
    if isinstance(answer.fields.get("data"), list):
        return tuple(_older_model(one) for one in read_items(answer.fields, "data") if read_text(one, "id"))
    listed = client.get(LIST).fields
    if listed.get("object") != "list":
        raise Mismatch("no list of models")
    names = [str(read_text(one, "id")) for one in read_items(listed, "data") if read_text(one, "id")]
    return tuple(ModelFact(id=name, embedding=makes_vectors(name)) for name in names)


def _lmstudio_model(one: Mapping[str, Any]) -> ModelFact:
    """Return a model that is not loaded, without its context, which the server does not report."""
    loaded = [instance for instance in one.get("loaded_instances") or [] if isinstance(instance, dict)]
    config, can = read_object(loaded[0], "config") if loaded else {}, read_object(one, "capabilities")
    return ModelFact(
        id=str(read_text(one, "key")),
        family=read_text(one, "architecture"),
        parameters=size_of(read_text(one, "params_string")),
        quantisation=read_text(read_object(one, "quantization"), "name"),
        ctx_usable=read_count(config, "context_length"),
        ctx_max=read_count(one, "max_context_length"),
        residence=Residence.LOADED if loaded else Residence.NOT_LOADED,
        size=read_count(one, "size_bytes"),
        slots=read_count(config, "parallel"),
        tools=read_flag(can, "trained_for_tool_use"),
        vision=read_flag(can, "vision"),
        embedding=one.get("type") == "embedding",
    )


def _older_model(one: Mapping[str, Any]) -> ModelFact:
    can, kind = one.get("capabilities"), one.get("type")
    is_loaded = one.get("state") == "loaded"
    return ModelFact(
        id=str(read_text(one, "id")),
        family=read_text(one, "arch"),
        quantisation=read_text(one, "quantization"),
        ctx_usable=read_count(one, "loaded_context_length") if is_loaded else None,
        ctx_max=read_count(one, "max_context_length"),
        residence=Residence.LOADED if is_loaded else Residence.NOT_LOADED,
        tools="tool_use" in can if isinstance(can, list) else None,
        vision=kind == "vlm",
        embedding=kind == "embeddings",
    )


ROUTED = f"{LIST}?autoload=false"
_TRIED = (("/v1/responses", ModelWire.RESPONSES), ("/v1/messages", ModelWire.MESSAGES))
_RESIDENCES = {"loaded": Residence.LOADED, "sleeping": Residence.ASLEEP}


def read_llamacpp(client: ServerClient, memory: Memory) -> ServerReading:
    """Read a llama.cpp server. Raises Silent, Mismatch."""
    listed = client.get(ROUTED)
    if listed.status == 401:
        return ServerReading(locked=True)
    models = read_items(listed.fields, "data")
    if any("status" in one for one in models):
        return _read_router(client, models)
    props = client.get(PROPS)
    if props.status == 503 or listed.status == 503:  # the server loads its model and will have slots later
        return ServerReading(models=tuple(_llamacpp_model(one, {}, Residence.NOT_LOADED) for one in models))
    if props.fields.get("role") == "router":
        return _read_router(client, read_items(client.get("/models?autoload=false").fields, "data"))
    fields, asleep = props.fields, read_flag(props.fields, "is_sleeping") is True
    total = read_count(fields, "total_slots")
    if total is None:
        raise Mismatch("no slots")
    reads_slots = memory.asks_slots and not asleep
    seen = _read_slots(client, "/slots", total) if reads_slots else None
    if memory.wires is None and not asleep and not (seen and seen.silent):
        # an empty request, sent once: an existing API reports a missing field before it calls a model
        there = [
            wire
            for path, wire in _TRIED
            if "is required" in str(read_object(client.post(path, {}).value, "error"))
        ]
        memory.wires = (ModelWire.CHAT, *there)
    residence = Residence.ASLEEP if asleep else Residence.LOADED
    waiting = None
    if reads_slots:
        waiting = memory.unheard() if seen and seen.silent else _queue(client, Dialect.LLAMACPP, memory)
    return ServerReading(
        version=read_text(fields, "build_info"),
        models=tuple(_llamacpp_model(one, fields, residence) for one in models if read_text(one, "id")),
        wires=memory.wires or (ModelWire.CHAT,),
        slots=total,
        slots_free=None if seen is None or seen.silent else max(total - len(seen.busy), 0),
        seen=seen,
        waiting=waiting,
    )


def _read_router(client: ServerClient, models: list[Mapping[str, Any]]) -> ServerReading:
    """Read a llama.cpp router. Each loaded model is queried with `autoload=false`, so that none is loaded."""
    found = []
    for one in models:
        name, status = read_text(one, "id"), read_object(one, "status").get("value")
        residence = _RESIDENCES.get(str(status), Residence.NOT_LOADED)
        fields: Mapping[str, Any] = {}
        if residence is Residence.LOADED and name:
            fields = client.get(f"{PROPS}?model={quote(name, safe='')}&autoload=false").fields
        if name:
            found.append(_llamacpp_model(one, fields, residence))
    return ServerReading(models=tuple(found))


def _read_slots(client: ServerClient, path: str, total: int) -> SlotCount | None:
    """Return the slots; None if the server does not show them."""
    try:
        answer = client.get(path)
    except Silent:
        return SlotCount(total, silent=True)
    if answer.status != 200 or not isinstance(answer.value, list):
        return None
    busy = [one for one in answer.value if isinstance(one, dict) and one.get("is_processing") is True]
    return SlotCount(total, tuple(_make_slot(one) for one in busy))


_QUEUES = {
    Dialect.LLAMACPP: "llamacpp:requests_deferred",
    Dialect.VLLM: "vllm:num_requests_waiting",
    Dialect.SGLANG: "sglang:num_queue_reqs",
}
"""The metric of the queue by kind of server, as in Prometheus; llama.cpp and SGLang need an option for it."""


def _queue(client: ServerClient, dialect: Dialect, memory: Memory) -> int | None:
    """Return the waiting calls of all models; None if the server does not report them or is long silent."""
    if not memory.tells_queue:
        return None
    try:
        answer = client.get("/metrics")
    except Silent:
        return memory.unheard()
    if answer.status in (500, 502, 503, 504):
        return memory.unheard()
    memory.tells_queue = answer.status == 200
    text = answer.body.decode("utf-8", "replace") if answer.status == 200 else ""
    found = re.findall(
        rf"^{_QUEUES[dialect]}(?:{{.*}})? (\d{{1,15}}(?:\.\d+)?(?:e\+\d\d)?)\s*$", text, re.MULTILINE
    )
    memory.queue, memory.silences = min(int(sum(map(float, found))), MOST) if found else None, 0
    return memory.queue


def _make_slot(one: Mapping[str, Any]) -> Slot:
    tokens = one.get("next_token")
    first = tokens[0] if isinstance(tokens, list) and tokens and isinstance(tokens[0], dict) else {}
    task, processed = read_count(one, "id_task"), read_count(one, "n_prompt_tokens_processed")
    return Slot(task or 0, processed or 0, read_count(first, "n_decoded") or 0)


def _llamacpp_model(one: Mapping[str, Any], props: Mapping[str, Any], residence: Residence) -> ModelFact:
    meta, caps = read_object(one, "meta"), read_object(props, "chat_template_caps")
    name = str(read_text(one, "id"))
    usable = read_count(read_object(props, "default_generation_settings"), "n_ctx") or read_count(
        meta, "n_ctx"
    )
    # a model without an alias has its file's path as its name, but the server accepts any name
    is_path = name.endswith(".gguf") or name.startswith("/")
    file_name = name.replace("\\", "/").rstrip("/").rpartition("/")[2] if is_path else name
    return ModelFact(
        id=file_name,
        parameters=read_count(meta, "n_params"),
        quantisation=read_text(meta, "ftype"),
        ctx_usable=usable,
        ctx_max=read_count(meta, "n_ctx_train"),
        residence=residence,
        size=read_count(meta, "size"),
        slots=read_count(props, "total_slots"),
        tools=read_flag(caps, "supports_tool_calls"),
        vision=read_flag(read_object(props, "modalities"), "vision"),
        embedding=makes_vectors(name),
    )


def read_server(dialect: Dialect, client: ServerClient, memory: Memory) -> ServerReading:
    """Read a server of this kind without loading or waking a model. Raises Silent, Mismatch."""
    match dialect:
        case Dialect.OLLAMA:
            return read_ollama(client, memory)
        case Dialect.LMSTUDIO:
            return read_lmstudio(client)
        case Dialect.LLAMACPP:
            return read_llamacpp(client, memory)
        case _:
            # raises Silent, Mismatch
            answer = client.get(LIST)
            if answer.status in (401, 403):
                return ServerReading(locked=True)
            if answer.fields.get("object") != "list":
                raise Mismatch("no list of models")
            listed = [one for one in read_items(answer.fields, "data") if read_text(one, "id")]
            if dialect is Dialect.OPENAI:
                return ServerReading(models=tuple(_listed_model(one, None) for one in listed))
            if memory.wires is None:
                # read the APIs from the server's own description, only once, because it is long
                try:
                    paths = read_object(client.get("/openapi.json").fields, "paths")
                except Silent:
                    paths = {}
                memory.wires = (
                    ModelWire.CHAT,
                    *(wire for path, wire in _WIRE_PATHS.items() if path in paths),
                )
            models = tuple(_listed_model(one, Residence.LOADED) for one in listed)
            version = _read_version(client) if dialect is Dialect.VLLM else None
            return ServerReading(version, models, memory.wires, waiting=_queue(client, dialect, memory))
