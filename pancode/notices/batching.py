"""Decides which waiting notices to send now: a question at once, others in one message a minute. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pancode.notices.records import Delivery

A_MINUTE = 60_000
"""A minute in milliseconds: the least time between two messages of a channel that answer no question."""
NOT_DELAYED = ("waits", "test")
"""The kinds that never wait for a minute to pass, and that are never counted in another message."""
NOTICE_AGAIN_MS = (15_000, 60_000, 300_000)
"""Milliseconds until each retry; after the last one a delivery has failed. After a failed try, the other
deliveries of the same target wait for the first of these times."""
MOST_WAITING = 200
"""How many deliveries of one target may wait; the oldest are dropped for newer ones."""
NOTIFY = "notify:"
"""The prefix of a delivery's target; the channel's name follows."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Deliveries to send now, as one message, and the time of the next check."""

    now: tuple[Delivery, ...] = ()
    again_ms: int | None = None


def to_send(waiting: Sequence[Delivery], sent_ms: int, now_ms: int) -> Sending:
    """Return what to send. `waiting`: of one channel, oldest first. `sent_ms`: the time of its last message.
    The next check follows each message; `again_ms` is only for what is not due yet."""
    due = [one for one in waiting if one.due_ms <= now_ms]
    later = min((one.due_ms for one in waiting if one.due_ms > now_ms), default=None)
    if asks := [one for one in due if one.kind in NOT_DELAYED]:
        return Sending((asks[0],), later)
    if due and sent_ms <= now_ms < sent_ms + A_MINUTE:
        free = sent_ms + A_MINUTE
        return Sending((), free if later is None else min(free, later))
    return Sending(tuple(due), later)


def again_ms(tries: int) -> int | None:
    """Return the milliseconds to wait after this many tries; None: the delivery has failed."""
    return NOTICE_AGAIN_MS[tries - 1] if tries <= len(NOTICE_AGAIN_MS) else None


def delay_target(planned: Sending, until_ms: int, now_ms: int) -> Sending:
    """Return the plan; while the target is unreachable (until `until_ms`), nothing is sent to it."""
    if until_ms <= now_ms or not planned.now:
        return planned
    return Sending((), until_ms if planned.again_ms is None else min(until_ms, planned.again_ms))


def too_old(waiting: Sequence[Delivery]) -> Sequence[Delivery]:
    """Return the oldest deliveries above the limit, to be dropped. `waiting`: of one target, oldest first."""
    return waiting[:-MOST_WAITING]
