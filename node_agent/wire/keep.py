"""How long and how much a node stores for its next runs, as set in the node's `node.json`."""

from __future__ import annotations

from pydantic import Field

from node_agent.wire.model import WireModel

DAY_MS = 86_400_000


class KeepBound(WireModel):
    """Limits for stored data of a kind. `age_ms`: since the last use. `size`: total bytes; None: no limit."""

    age_ms: int = Field(ge=0)
    size: int | None = Field(default=None, ge=0)


class NodeKeep(WireModel):
    """The limits for each kind of stored data: copies of repositories, checkouts that wait for a next run,
    folders that set-up made, and sessions. `sessions.size` limits the sessions of interactive runs."""

    mirrors: KeepBound = KeepBound(age_ms=14 * DAY_MS)
    checkouts: KeepBound = KeepBound(age_ms=7 * DAY_MS)
    set_ups: KeepBound = KeepBound(age_ms=14 * DAY_MS)
    sessions: KeepBound = KeepBound(age_ms=30 * DAY_MS, size=2 << 30)


KEEP = NodeKeep()
"""The default limits."""
