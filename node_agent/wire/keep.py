"""How long and how much a node stores for its next runs; set in its `node.json`."""

from __future__ import annotations

from pydantic import Field

from node_agent.wire.model import WireModel

DAY_MS = 86_400_000


class KeepBound(WireModel):
    """`age_ms`: since the last use. `size`: the most bytes of all of a kind; None: no limit."""

    age_ms: int = Field(ge=0)
    size: int | None = Field(default=None, ge=0)


class NodeKeep(WireModel):
    """The limits of each kind: copies of repositories, checkouts that wait for a next run, folders that
    set-up has made, stored sessions. `sessions.size`: for the sessions of interactive runs."""

    mirrors: KeepBound = KeepBound(age_ms=14 * DAY_MS)
    checkouts: KeepBound = KeepBound(age_ms=7 * DAY_MS)
    set_ups: KeepBound = KeepBound(age_ms=14 * DAY_MS)
    sessions: KeepBound = KeepBound(age_ms=30 * DAY_MS, size=2 << 30)


KEEP = NodeKeep()
"""The default limits."""
