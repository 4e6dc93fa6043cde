"""What an editor offers to choose before a session begins: its agent, its machine, its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pancode.client import Client
from pancode.errors import PancodeError
from pancode.plain import clip, unhidden

Json = dict[str, Any]
DEFAULT = "default"
"""The value of an option that nobody has chosen."""
MOST = 200
MOST_WORDS = 100
_ABOUT = {
    "agent": ("Agent", "mode", "as the settings say, else builder"),
    "node": ("Machine", "", "PanCode chooses"),
    "model": ("Model", "model", "the agent's own"),
}


def offered(client: Client, folder: str, chosen: Json) -> list[Json]:
    """The options of a session that has not begun; a coordinator that cannot be asked leaves them short."""
    agents = _rows(lambda: client.get("/v1/agents", cwd=folder)["agents"])
    nodes = _rows(lambda: client.get("/v1/fleet")["nodes"])
    models = _rows(lambda: client.get("/v1/models", cwd=folder)["models"])
    rows = {
        "agent": [(one["name"], one["description"]) for one in agents],
        "node": [(one["name"], one["state"]) for one in nodes],
        "model": [(one["ref"], one["tier_why"]) for one in models if not one["embedding"]],
    }
    return [_option(key, chosen.get(key), rows[key]) for key in _ABOUT]


def fixed(shape: Json) -> list[Json]:
    """Those of a session that has begun: one value each."""
    return [_option(key, shape[key], ()) for key in _ABOUT]


def _rows(asked: Callable[[], list[Json]]) -> list[Json]:
    try:
        return asked()[:MOST]
    except PancodeError:
        return []


def _option(key: str, value: str | None, rows: Iterable[tuple[str, str]]) -> Json:
    title, category, without = _ABOUT[key]
    known = dict(rows)
    if value:
        known.setdefault(value, "")
    first = {"value": DEFAULT, "name": "default", "description": without}
    named = [{"value": name, "name": name, "description": _words(text)} for name, text in known.items()]
    about: Json = {"id": key, "name": title, "type": "select", "currentValue": value or DEFAULT}
    return {**about, **({"category": category} if category else {}), "options": [first, *named]}


def _words(text: str | None) -> str:
    return clip(" ".join(unhidden(text or "").split()), MOST_WORDS)
