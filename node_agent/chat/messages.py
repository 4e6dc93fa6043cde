"""The conversation as values of our own: questions, answers and tool results. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model wrote it. `arguments`: JSON text, or what should have been that."""

    id: str
    name: str
    arguments: str

    @property
    def fields(self) -> dict[str, Any] | None:
        """The arguments as an object; None: they are no JSON object."""
        try:
            given = json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            return None
        return given if isinstance(given, dict) else None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a tool, for the model."""

    id: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A person's words, or ours in their place."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The model's turn."""

    text: str
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResults:
    """The results of all calls of the turn before."""

    results: tuple[Result, ...]


Turn = Asked | Answered | ToolResults


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one answer; `told` False: the server did not report them."""

    input: int = 0
    cached: int = 0
    output: int = 0
    told: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`finish`: stop, length, tool_call, content_filter, or whatever else the server says."""

    text: str
    calls: tuple[Call, ...]
    finish: str
    tokens: Tokens
    model: str = ""


@dataclass(frozen=True, slots=True)
class ToolForm:
    """A tool as it is offered to the model: with a JSON schema of its arguments."""

    name: str
    words: str
    schema: dict[str, Any]


_KINDS: dict[str, type[Turn]] = {"asked": Asked, "answered": Answered, "told": ToolResults}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_json(session: str, turns: Sequence[Turn]) -> bytes:
    """Return a session as JSON, to go on with later."""
    plain = [{"kind": _NAMES[type(turn)], **asdict(turn)} for turn in turns]
    return json.dumps({"session": session, "turns": plain}).encode()


def from_json(data: bytes) -> tuple[str, list[Turn]]:
    """Return the session in JSON; ValueError for other data."""
    try:
        raw = json.loads(data)
        return str(raw["session"]), [_turn(one) for one in raw["turns"]]
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("no session of ours") from exc


def _turn(raw: dict[str, Any]) -> Turn:
    match raw["kind"]:
        case "asked":
            return Asked(str(raw["text"]))
        case "answered":
            return Answered(str(raw["text"]), tuple(Call(**one) for one in raw["calls"]))
        case "told":
            return ToolResults(tuple(Result(**one) for one in raw["results"]))
    raise ValueError("a turn of no kind")
