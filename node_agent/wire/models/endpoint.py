"""A node's facts about model servers and their models: never a key, or a whole URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from node_agent.wire.bounded import Few, Lasted, Line, Text
from node_agent.wire.model import Count, WireModel
from node_agent.wire.models.passport import PassportFact

Word = Annotated[str, Text(200, least=1)]
"""Of a server's own telling: clipped by whoever read it."""


class Dialect(StrEnum):
    """The program that answers, by the shape of its answers; the last: any server with OpenAI's wire."""

    OLLAMA = "ollama"
    LMSTUDIO = "lmstudio"
    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    SGLANG = "sglang"
    OPENAI = "openai-compatible"


class Residence(StrEnum):
    """The state of a model: ready, to be loaded at the first call, or unloaded until a call."""

    LOADED = "loaded"
    NOT_LOADED = "not loaded"
    ASLEEP = "asleep"


class Health(StrEnum):
    """`wedged`: it says that it is well and makes no progress."""

    OK = "ok"
    NEEDS_KEY = "needs a key"
    WEDGED = "wedged"


class ModelWire(StrEnum):
    """A way of asking for a model's words."""

    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    OLLAMA = "ollama"


RUNTIME_WIRES: Mapping[str, ModelWire] = {
    "claude": ModelWire.MESSAGES,
    "claude-sdk": ModelWire.MESSAGES,
    "codex": ModelWire.RESPONSES,
    "copilot": ModelWire.CHAT,
    "native": ModelWire.CHAT,
    "openai-agents": ModelWire.CHAT,
    "opencode": ModelWire.CHAT,
    "qwen": ModelWire.CHAT,
}
"""The wire that each runtime asks an endpoint on; one that is not here can use none."""


class ModelFact(WireModel):
    """A model of an endpoint; None is unknown.

    `ctx_usable`: tokens that a call gets now; `ctx_max`: what it was trained for. `size` and `vram` are
    bytes. `remote`: the server asks another one on the internet for it, which costs.
    """

    id: Word
    family: Word | None = None
    parameters: Count | None = None
    quantisation: Word | None = None
    ctx_usable: Count | None = None
    ctx_max: Count | None = None
    residence: Residence | None = None
    size: Count | None = None
    vram: Count | None = None
    slots: Count | None = None
    tools: bool | None = None
    vision: bool | None = None
    embedding: bool = False
    """It makes vectors, no words: not offered as a worker."""
    remote: bool = False
    digest: Word | None = None
    passport: PassportFact | None = None
    """None: it was not tested as it is now."""


_ENDINGS = {Dialect.OLLAMA: ":latest", Dialect.LLAMACPP: ".gguf"}


class EndpointFact(WireModel):
    """A model server. `name`: what `NAME/MODEL` calls it; `at`: host:port; `slots`: calls at once.

    `fix`: what mends a health that is not ok. `age_ms`: since it was looked at. `free`: calls cost nothing.
    """

    name: Word
    dialect: Dialect
    at: Word
    version: Word | None = None
    health: Health = Health.OK
    words: Line = ""
    fix: Line = ""
    slots: Count | None = None
    slots_free: Count | None = None
    wires: Annotated[tuple[ModelWire, ...], Few(8)] = ()
    free: bool = True
    age_ms: Lasted = 0
    models: Annotated[tuple[ModelFact, ...], Few(500)] = ()
    more: Count = 0
    """Models that are not named here: a heartbeat stays small."""

    def model(self, name: str) -> ModelFact | None:
        """The one of that id; Ollama's without a tag is its `latest`, llama.cpp's may leave out `.gguf`."""
        names = (name, name + _ENDINGS.get(self.dialect, ""))
        return next((one for one in self.models if one.id in names), None)


_TROUBLED = re.compile(r"endpoint (\S+) \(")


def troubled(name: str, at: str, words: str) -> str:
    """A node's problem with a server that its owner lists and that it cannot use."""
    return f"endpoint {name} ({at}) {words}"


def troubled_name(what: str) -> str | None:
    """The server that such a problem is about; None for any other problem."""
    found = _TROUBLED.match(what)
    return found[1] if found else None
