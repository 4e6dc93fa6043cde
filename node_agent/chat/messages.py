"""The conversation as values: questions, answers and tool results. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

Extra = dict[str, Any]
"""Unknown data that a server added to a message or a call, such as a thought's signature. Only that server
can read it, and it needs the same data back in the next request."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model wrote it. `arguments`: JSON text, possibly invalid."""

    id: str
    name: str
    arguments: str
    extra: Extra = field(default_factory=dict, hash=False)

    @property
    def fields(self) -> dict[str, Any] | None:
        """Return the arguments as an object; None if they are not a JSON object."""
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
    """A user's message, or one that PanCode sends instead of a user."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn of the model: its text and tool calls."""

    text: str
    calls: tuple[Call, ...] = ()
    extra: Extra = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ToolResults:
    """The results of all tool calls of the previous turn."""

    results: tuple[Result, ...]


Turn = Asked | Answered | ToolResults


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one answer. `reported`: whether the server reported them."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reported: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer. `finish`: stop, length, tool_call, content_filter, or another value of the server."""

    text: str
    calls: tuple[Call, ...]
    finish: str
    tokens: Tokens
    model: str = ""
    extra: Extra = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ToolForm:
    """A tool as offered to the model, with a JSON schema of its arguments."""

    name: str
    words: str
    schema: dict[str, Any]


_KINDS: dict[str, type[Turn]] = {"asked": Asked, "answered": Answered, "told": ToolResults}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_json(session: str, turns: Sequence[Turn], server: str) -> bytes:
    """Return a session as JSON, for continuing it later. `server`: identifies the server that answered."""
    plain = [{"kind": _NAMES[type(turn)], **asdict(turn)} for turn in turns]
    return json.dumps({"session": session, "server": server, "turns": plain}).encode()


def from_json(data: bytes, server: str) -> tuple[str, list[Turn]]:
    """Return the session's id and turns from JSON, for that server; ValueError for other data."""
    try:
        raw = json.loads(data)
        is_same = raw.get("server") == server
        return str(raw["session"]), [_turn(one, is_same) for one in raw["turns"]]
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("this is not a session of PanCode") from exc


def _turn(raw: dict[str, Any], is_same: bool) -> Turn:
    """Read a turn. `is_same`: whether the server is the one whose additions the turn contains."""
    match raw["kind"]:
        case "asked":
            return Asked(str(raw["text"]))
        case "answered":
            calls = tuple(Call(**one) for one in raw["calls"])
            if is_same:
                return Answered(str(raw["text"]), calls, raw["extra"])
            return Answered(str(raw["text"]), tuple(replace(one, extra={}) for one in calls))
        case "told":
            return ToolResults(tuple(Result(**one) for one in raw["results"]))
    raise ValueError("the session has a turn of an unknown kind")
