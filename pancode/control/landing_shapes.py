"""The JSON of landings, as far as faces may rely on it. Additions only."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

Json = dict[str, Any]


class LandingShape(TypedDict, total=False):
    """The result of the landing: `waiting`, `landed`, `nothing to land`, `conflict`, `gate failed` ..."""

    status: str
    why: str
    fix: str
    files: list[str]
    tree: str
    branch: str | None
    commit: str
    made: bool
    yes: list[str]
    held: int
    gate: Json | None
    already: str
