"""The journal's marks: how far one attempt has come on its node."""

from __future__ import annotations

from enum import StrEnum


class Mark(StrEnum):
    """Each is written, fsynced, before what follows it begins."""

    ACCEPTED = "accepted"
    PREPARED = "prepared"
    SPAWNED = "spawned"
    EXITED = "exited"
    COMMITTED = "committed"
    GATED = "gated"
    PUSHED = "pushed"
    RECEIPTED = "receipted"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    REFUSED = "refused"


ORDER: tuple[Mark, ...] = (
    Mark.ACCEPTED,
    Mark.PREPARED,
    Mark.SPAWNED,
    Mark.EXITED,
    Mark.COMMITTED,
    Mark.GATED,
    Mark.PUSHED,
    Mark.RECEIPTED,
    Mark.ACKNOWLEDGED,
)
FINAL: frozenset[Mark] = frozenset({Mark.ACKNOWLEDGED, Mark.REJECTED, Mark.REFUSED})
HOLDS_SLOT: frozenset[Mark] = frozenset(
    {Mark.ACCEPTED, Mark.PREPARED, Mark.SPAWNED, Mark.EXITED, Mark.COMMITTED}
)
"""Marks at which the attempt still occupies a slot: until all steps ended. Publishing holds none."""
