"""The rows of what is told to the world outside: webhooks, and each delivery of a notice or an event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from pancode.core.rows.base import Record, Table


class DeliveryState(StrEnum):
    """Life of a delivery; the last two are ends."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Webhook(Record):
    """An address that is sent signed events."""

    TABLE: ClassVar = Table("webhooks", ("name",))
    name: str
    url: str
    created_ms: int
    created_by: str
    events: tuple[str, ...]
    """Occasions and kinds of events; a kind may end with `.*`."""


@dataclass(frozen=True, slots=True)
class Delivery(Record):
    """One message to one target: kept from the transaction after its event until long after its end."""

    TABLE: ClassVar = Table("deliveries", ("id",), ("target,created_ms", "state"))
    id: str
    """Target and number of the event, so that none is made twice."""
    target: str
    """`notify:CHANNEL` or `webhook:NAME`."""
    created_ms: int
    kind: str
    body: dict[str, object]
    due_ms: int
    state: DeliveryState = DeliveryState.WAITING
    tries: int = 0
    status: str = ""
    """What the other side said last."""
    done_ms: int | None = None
    tried_ms: int | None = None
