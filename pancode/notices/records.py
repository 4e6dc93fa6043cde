"""The table of waiting messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class Delivery(Record):
    """One waiting message to one target. It is written in the transaction that follows its event, and deleted
    once it was sent or has failed."""

    TABLE: ClassVar = Table("deliveries", ("id",), ("target,created_ms",))
    id: str
    """Made of the target and the event's number, so that no delivery is duplicated."""
    target: str
    """`notify:CHANNEL`; rows of an earlier version may have `webhook:NAME`, whose delivery fails."""
    created_ms: int
    kind: str
    body: dict[str, object]
    due_ms: int
    tries: int = 0
