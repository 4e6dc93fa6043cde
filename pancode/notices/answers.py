"""The JSON of notices that faces may rely on. Additions only."""

from __future__ import annotations

from typing_extensions import TypedDict


class DeliveryShape(TypedDict):
    """One message to one target. `status`: what the other side said last."""

    delivery: str
    target: str
    kind: str
    state: str
    tries: int
    status: str
    created_at: str
    next_at: str | None
    done_at: str | None


class ChannelShape(TypedDict):
    """A channel of notices. `trouble`: why its last message did not arrive; empty: none is known."""

    channel: str
    secret: str
    kinds: list[str]
    waiting: int
    last_sent_at: str | None
    trouble: str
