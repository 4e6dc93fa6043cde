"""Keeps a node's advice apart from our own: it is quoted, and never becomes a `fix` of ours.

A person, or an agent that operates PanCode, does what `fix` says; a node may say anything.
"""

from __future__ import annotations

from typing import Any, TypeVar

from node_agent.wire.model import WireModel

M = TypeVar("M", bound=WireModel)
MOST_CHARS = 300
"""Of a node's words inside a sentence of ours."""


def quoted(facts: M, node: str) -> M:
    """A node's facts, with each advice in them as `NODE says: ...`, at any depth."""
    changed: dict[str, Any] = {}
    for name in type(facts).model_fields:
        value = getattr(facts, name)
        new = f"{node} says: {value}" if name == "fix" and value else _quoted(value, node)
        if new is not value:
            changed[name] = new
    return facts.model_copy(update=changed) if changed else facts


def _quoted(value: Any, node: str) -> Any:
    if isinstance(value, WireModel):
        return quoted(value, node)
    if isinstance(value, tuple) and any(isinstance(one, WireModel) for one in value):
        return tuple(_quoted(one, node) for one in value)
    return value


def in_a_sentence(words: str) -> str:
    """A node's words inside a sentence of ours: short, on one line, with nothing that a terminal obeys."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return line if len(line) <= MOST_CHARS else f"{line[:MOST_CHARS]} ..."


def with_words(why: str, says: str) -> str:
    """A reason of ours with what the node says of it."""
    return f"{why} ({says})" if says else why


def apart(data: Any) -> Any:
    """Plain JSON of what a node has told: its advice is `says`, and `fix` is empty."""
    if isinstance(data, list):
        return [apart(one) for one in data]
    if not isinstance(data, dict):
        return data
    made = {name: apart(value) for name, value in data.items()}
    return {**made, "fix": "", "says": made["fix"]} if "fix" in made else made
