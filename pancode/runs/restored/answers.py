"""The API's answers about what is held since a restore."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class HeldItemShape(TypedDict):
    """Something pending that begins nothing since the ledger was restored. `usd`: the most that it may cost
    once more; null: unknown. `nodes`: what the nodes say about it."""

    name: str
    kind: str
    what: str
    since: str
    usd: str | None
    nodes: str


class AskedShape(TypedDict):
    """A node that was asked for its attempts. `complete_since`: from when on it has reported all of them;
    null: it has not answered completely."""

    node: str
    complete_since: str | None


class HeldAnswer(TypedDict):
    """`since`: the time of the newest event that the restored ledger has; null: it was never restored."""

    since: str | None
    nodes: list[AskedShape]
    held: list[HeldItemShape]


class ReleasedAnswer(TypedDict):
    """The names of what was started and dropped, and how much is still held."""

    started: list[str]
    dropped: list[str]
    left: int


HELD = Route[HeldAnswer]("GET /v1/held")
RELEASE = Route[ReleasedAnswer]("POST /v1/held")
