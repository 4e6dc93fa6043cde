"""One answer of a model server, and readers of its parts that trust nothing in it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from node_agent.wire.model import MOST

WORD_CHARS = 200
_SIZES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


class Silent(Exception):
    """No answer in time. `refused`: nothing listens there; `fix`: what mends it, where that is known."""

    def __init__(self, words: str, refused: bool = False, fix: str = "") -> None:
        super().__init__(words)
        self.refused, self.fix = refused, fix


class Mismatch(Exception):
    """It answers in another shape than the server that was known there."""


@dataclass(frozen=True)
class ServerReply:
    """`server`: the header of that name. A status says little: some servers give 200 to all that is asked."""

    status: int
    body: bytes
    server: str = ""

    @cached_property
    def value(self) -> Any:
        """Its JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields of a good answer; empty for any other."""
        return self.value if self.status == 200 and isinstance(self.value, dict) else {}

    @property
    def error(self) -> Any:
        """The error in its body."""
        return self.value.get("error") if isinstance(self.value, dict) else None


class ServerClient(Protocol):
    """Asks one server. Raises Silent."""

    def get(self, path: str) -> ServerReply:
        """Changes nothing there."""

    def post(self, path: str, body: Mapping[str, object]) -> ServerReply:
        """Send one of the few questions that need POST; they change nothing either."""


def items(value: object, name: str) -> list[Mapping[str, Any]]:
    """The objects in the list of that name; Mismatch when there is no such list."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, list):
        raise Mismatch(f"no list {name!r}")
    return [one for one in found if isinstance(one, dict)]


def inner(value: object, *names: str) -> Mapping[str, Any]:
    """The object at that path; empty when there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def word(value: Mapping[str, Any], name: str) -> str | None:
    """A text, as much of it as a heartbeat carries; None for none, or an empty one."""
    found = value.get(name)
    return (found.strip()[:WORD_CHARS] or None) if isinstance(found, str) else None


def number(value: Mapping[str, Any], name: str) -> int | None:
    """A count; None for anything else."""
    found = value.get(name)
    whole = isinstance(found, int) and not isinstance(found, bool)
    return found if whole and found is not None and 0 <= found <= MOST else None


def flag(value: Mapping[str, Any], name: str) -> bool | None:
    found = value.get(name)
    return found if isinstance(found, bool) else None


def size_of(text: str | None) -> int | None:
    """`8.0B`, `135M` or `8x7B` as a number of parameters; None for what does not say one."""
    found = re.fullmatch(r"(?:(\d+)x)?(\d+(?:\.\d+)?)([KMBT])", (text or "").strip().upper())
    if found is None:
        return None
    return round(int(found[1] or 1) * float(found[2]) * _SIZES[found[3]])


def makes_vectors(model: str) -> bool:
    """Whether the model makes vectors, by its name, if the server does not say what it is for."""
    return re.search(r"embed|rerank|(?:^|[-/_])bge[-_]", model.lower()) is not None
