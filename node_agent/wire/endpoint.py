"""Describes model servers for coordinator and node: models, passports (test results), vendors and advice."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from node_agent.wire.model import Count, Few, Lasted, Line, Name, Real, Share, Text, WallMillis, WireModel
from node_agent.wire.other_runtimes import is_other


class Sampling(WireModel):
    """The sampling settings of a model. None: the model server's own value."""

    temperature: Annotated[Share, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Share, Field(gt=0, le=1)] | None = None
    top_k: int | None = Field(default=None, ge=1, le=1_000_000)
    presence_penalty: Annotated[Share, Field(ge=-2, le=2)] | None = None


VENDOR_VARIABLES: Mapping[str, tuple[str, str]] = {
    name: (f"{stem}_API_KEY", f"{stem}_BASE_URL")
    for name, stem in {
        "openai": "OPENAI",
        "anthropic": "ANTHROPIC",
        "google": "GEMINI",
        "groq": "GROQ",
        "together": "TOGETHER",
        "mistral": "MISTRAL",
        "openrouter": "OPENROUTER",
    }.items()
} | {"google": ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL")}
"""The variables of each vendor: key, then address. Vendors are in order of preference if none is named."""
OTHER_NAMES: Mapping[str, str] = {"openai-codex": "openai"}


PassportLine = Annotated[str, Text(300)]
"""Text for users; the writer truncates it."""
AskId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class ExamCheck(StrEnum):
    """The checks in a model's test, in order; each check requires that the ones before it passed."""

    ANSWERS = "answers"
    CONTEXT = "context"
    TOOLS = "tools"
    EDITS = "edits"
    """Only node agents of 0.1.0 make it; passports leave it out."""


class Grade(StrEnum):
    """The result of a check. `unknown`: the check was inconclusive, for the reason in `words`."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class CheckFact(WireModel):
    """The result of one check. `fix`: how to repair a failed check, on the model server's host."""

    check: ExamCheck
    grade: Grade
    words: PassportLine
    fix: PassportLine = ""


def _drop_edits(checks: tuple[CheckFact, ...]) -> tuple[CheckFact, ...]:
    return tuple(one for one in checks if one.check is not ExamCheck.EDITS)


class PassportFact(WireModel):
    """The passport of a model: the results of its test on its server at `taken_ms` of the node's wall clock.
    `ctx`: the context in tokens that a call really gets."""

    taken_ms: WallMillis
    took_ms: Lasted
    checks: Annotated[tuple[CheckFact, ...], Few(8), AfterValidator(_drop_edits)]
    ctx: Count | None = None
    tok_s: Real | None = Field(default=None, exclude=True)
    """Only node agents of 0.1.0 report it."""

    def of(self, check: ExamCheck) -> CheckFact | None:
        """Return the result of this check; None if the check was not made."""
        return next((one for one in self.checks if one.check is check), None)


class AskState(StrEnum):
    """The progress of a model's test. `given up`: abandoned without a result, for the reason in `words`."""

    WAITING = "waiting"
    TESTING = "testing"
    DONE = "done"
    GIVEN_UP = "given up"


class AskFact(WireModel):
    """A requested test of a model, listed until some time after its end. Its result is a passport."""

    ask: AskId
    endpoint: Name
    model: Name
    state: AskState
    words: PassportLine = ""
    fix: PassportLine = ""


Word = Annotated[str, Text(200, least=1)]
"""A short text that a server sent; the reader truncates it."""


class Dialect(StrEnum):
    """The kind of a model server, known by the form of its answers. OPENAI: any other with OpenAI's API."""

    OLLAMA = "ollama"
    LMSTUDIO = "lmstudio"
    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    SGLANG = "sglang"
    OPENAI = "openai-compatible"


class Residence(StrEnum):
    """The state of a model: ready, loaded at the first call, or unloaded until a call."""

    LOADED = "loaded"
    NOT_LOADED = "not loaded"
    ASLEEP = "asleep"


class Health(StrEnum):
    """The health of a model server. `wedged`: it reports that it is healthy, but makes no progress."""

    OK = "ok"
    NEEDS_KEY = "needs a key"
    WEDGED = "wedged"


class ModelWire(StrEnum):
    """The API by which a model is called."""

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
}
"""The API that each runtime uses at an endpoint; a runtime that is not listed cannot use endpoints."""


def wire_of(runtime: str) -> ModelWire | None:
    """Return the API that the runtime uses at an endpoint; None if the runtime cannot use endpoints."""
    return ModelWire.CHAT if is_other(runtime) else RUNTIME_WIRES.get(runtime)


class ModelFact(WireModel):
    """A model at an endpoint. None: unknown.

    `ctx_usable`: the tokens that a call gets now; `ctx_max`: the tokens for which the model was trained.
    `size` and `vram` are bytes. `remote`: the server forwards calls to the internet, which costs money.
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
    """Whether it is an embedding model; then it is not offered to agents."""
    remote: bool = False
    digest: Word | None = None
    passport: PassportFact | None = None
    """The model's passport; None: the model has not been tested in its present state."""


_ENDINGS = {Dialect.OLLAMA: ":latest", Dialect.LLAMACPP: ".gguf"}


class EndpointFact(WireModel):
    """A model server. `name`: as in `NAME/MODEL`; `at`: host:port; `slots`: the calls that it serves at once.

    `fix`: how to repair bad health. `age_ms`: time since the last check. `free`: calls cost nothing.
    `waiting`: the calls of all clients in the server's queue; None: the server does not report it.
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
    waiting: Count | None = None
    wires: Annotated[tuple[ModelWire, ...], Few(8)] = ()
    free: bool = True
    age_ms: Lasted = 0
    models: Annotated[tuple[ModelFact, ...], Few(500)] = ()
    more: Count = 0
    """The number of models that are omitted from `models`, so that a heartbeat stays small."""

    def model(self, name: str) -> ModelFact | None:
        """Return the model with this id. `name` may omit the tag `latest` (Ollama) or the ending `.gguf`
        (llama.cpp)."""
        names = (name, name + _ENDINGS.get(self.dialect, ""))
        return next((one for one in self.models if one.id in names), None)


_TROUBLED = re.compile(r"endpoint (\S+) \(")


def format_trouble(name: str, at: str, words: str) -> str:
    """Return the text of a node's problem with a model server that its owner lists but it cannot use."""
    return f"endpoint {name} ({at}) {words}"


def troubled_name(what: str) -> str | None:
    """Return the server's name from a text that `format_trouble` made; None for any other problem."""
    found = _TROUBLED.match(what)
    return found[1] if found else None


SETTINGS = {
    Dialect.OLLAMA: "OLLAMA_CONTEXT_LENGTH={tokens}",
    Dialect.LLAMACPP: "--ctx-size {tokens}",
    Dialect.LMSTUDIO: "--context-length {tokens}",
    Dialect.VLLM: "--max-model-len {tokens}",
    Dialect.SGLANG: "--context-length {tokens}",
}
"""The setting that gives each kind of server more context, in the form in which users enter it."""
_SERVERS = {
    Dialect.OLLAMA: "Ollama with ",
    Dialect.LLAMACPP: "llama-server (its slots share the context) with ",
    Dialect.LMSTUDIO: "LM Studio: lms load MODEL ",
    Dialect.VLLM: "vLLM with ",
    Dialect.SGLANG: "SGLang with ",
}


def widen_any(tokens: int) -> str:
    """Return each server kind's settings for a context of `tokens`, for use when the kind is unknown."""
    settings = (name + SETTINGS[dialect].format(tokens=tokens) for dialect, name in _SERVERS.items())
    return "; ".join(settings)


def advise_widen(endpoint: EndpointFact, model: ModelFact, least: int, wanted: int) -> str:
    """Return how to give a call `wanted` tokens of context, or as many as the model supports. If that is less
    than `least`, suggest another model."""
    if model.ctx_max is not None and model.ctx_max < least:
        return f"use another model: {model.id} supports at most {model.ctx_max} tokens"
    tokens, name = min(wanted, model.ctx_max or wanted), shlex.quote(model.id)
    setting = SETTINGS.get(endpoint.dialect, "").format(tokens=tokens)
    match endpoint.dialect:
        case Dialect.OLLAMA:
            short = model.id.rpartition("/")[2].replace(":", "-")
            return (
                f"start {_SERVERS[Dialect.OLLAMA]}{setting}, or derive a model with it: write a Modelfile "
                f"with FROM {model.id} and PARAMETER num_ctx {tokens}, then run ollama create "
                f"{shlex.quote(short)}-{tokens // 1024}k -f Modelfile"
            )
        case Dialect.LLAMACPP:
            slots = max(model.slots or endpoint.slots or 1, 1)
            shared = f" --parallel {slots} (they share the context)" if slots > 1 else ""
            all_slots = SETTINGS[Dialect.LLAMACPP].format(tokens=tokens * slots)
            return f"start llama-server with {all_slots}{shared}"
        case Dialect.LMSTUDIO:
            return f"lms load {name} {setting}, or set the context length in LM Studio's load settings"
        case Dialect.VLLM | Dialect.SGLANG:
            return f"start {_SERVERS[endpoint.dialect]}{setting}"
        case Dialect.OPENAI:
            return f"set the model's context to {tokens} tokens where the model server is started"


@dataclass(frozen=True, slots=True)
class Machine:
    """A host on which to search for model servers. `port` None: the usual ports. `name` None: the endpoints
    found are named after the kinds of their servers."""

    name: str | None
    host: str
    port: int | None


def machine_of(text: str) -> Machine:
    """Return the host that this text names. Raises ValueError with the right form if it names none."""
    name, equals, address = text.strip().rpartition("=")
    host, port = _split(address.strip())
    if not _is_host(host) or (equals and not _is_name(name)):
        raise ValueError(f"{text!r} is not a host: write HOST:PORT, NAME=HOST or NAME=HOST:PORT")
    if port is None and not equals:
        raise ValueError(f"{text!r} has no port: write HOST:PORT, or NAME=HOST for the usual ports")
    return Machine(name or None, host, port)


def is_address(host: str) -> bool:
    """Whether the text is an IP address of either version."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _split(address: str) -> tuple[str, int | None]:
    """Return the host and port in `address`; the host is empty if it is missing or the port is invalid."""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
        bare = not rest
    elif address.count(":") > 1:
        return address, None
    else:
        host, colon, port = address.partition(":")
        bare = not colon
    if bare:
        return host, None
    number = int(port) if port.isascii() and port.isdigit() else 0
    return (host, number) if 0 < number < 65536 else ("", None)


def _is_host(host: str) -> bool:
    letters = host.replace("-", "").replace(".", "").replace("_", "")
    return is_address(host) or (letters.isascii() and letters.isalnum())


def _is_name(name: str) -> bool:
    letters = name.replace("-", "").replace(".", "").replace("_", "")
    return letters.isascii() and letters.isalnum() and name == name.lower() and len(name) <= 40
