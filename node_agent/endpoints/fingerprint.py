"""Recognises the server at an address by the shape of its answers, never by port or status. Pure.

LM Studio writes each question that it does not know into its owner's log: the first match ends the questions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from node_agent.endpoints.answers import ServerClient, ServerReply
from node_agent.wire.endpoint import Dialect

VERSION, PROPS, LM1, LM0, LIST = "/api/version", "/props", "/api/v1/models", "/api/v0/models", "/v1/models"
ORDER = (VERSION, PROPS, LM1, LM0, LIST)
LMSTUDIO_PORT = 1234
"""The usual port of each program: its own question comes first there, as it logs the others."""
_UNEXPECTED = "Unexpected endpoint or method"
_OWNERS = {"vllm": Dialect.VLLM, "sglang": Dialect.SGLANG, "llamacpp": Dialect.LLAMACPP}


@dataclass(frozen=True, slots=True)
class ServerKind:
    """The program that answers. `locked`: it wants a key that it was not shown."""

    dialect: Dialect
    locked: bool = False


def identify(ask: ServerClient, port: int, known: bool = False) -> ServerKind | None:
    """None: no model server. `known`: its owner says that it is one. Raises Silent."""
    order = (LM1, *(path for path in ORDER if path != LM1)) if port == LMSTUDIO_PORT else ORDER
    last = None
    for path in order:
        last = ask.get(path)
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
        return _owned(fields["data"])
    return None


def _is_lmstudio(path: str, answer: ServerReply) -> bool:
    name, marks = ("models", ("key", "loaded_instances")) if path == LM1 else (
        "data", ("state", "compatibility_type"),
    )  # fmt: skip
    found = answer.fields.get(name)
    return isinstance(found, list) and all(
        isinstance(one, dict) and set(marks) <= one.keys() for one in found
    )


def _owned(models: list[object]) -> Dialect:
    owners = {one.get("owned_by") for one in models if isinstance(one, dict)}
    return next((_OWNERS[str(owner)] for owner in owners if owner in _OWNERS), Dialect.OPENAI)


def _is_version(value: object) -> bool:
    return isinstance(value, str) and re.match(r"\d+\.\d+", value) is not None
