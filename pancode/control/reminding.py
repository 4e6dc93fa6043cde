"""Repeats an answer to a node that may have forgotten it.

A node agent that begins on an emptied disk, or was killed while a full one kept it from noting a refusal,
would start such an order if Redis delivered it once more. It takes none before it has our answer to its first
heartbeat, and what is said here arrives before that answer.
"""

from __future__ import annotations

from collections import deque

from node_agent.wire.control import Tombstone
from node_agent.wire.node import Heartbeat
from pancode.control.core import Core
from pancode.core.records import Closed, Fence
from pancode.life.orders import may_push

OVER = "it was answered before"
_REFUSED = (Closed.REFUSED, Closed.NOT_NOW)
_ANSWERED = (*_REFUSED, Closed.REVOKED, Closed.RECEIPT)
MOST_TIMES = 3
"""A node may begin as many sessions as it likes, and each word is kept until it says that it has seen it."""


def note(core: Core, fence: Fence) -> None:
    """An order is over. After a start of ours the epoch is another, in which no older order is started."""
    if fence.closed in _ANSWERED:
        over = core.live.answers.over.setdefault(fence.tag, deque())
        over.append((fence, 0))
        while over and not may_push(over[0][0], core.now()):
            over.popleft()


def reminders(core: Core, beat: Heartbeat, last: Heartbeat) -> list[Tombstone]:
    """For a new session: of each order that is over and could still be started, in time."""
    over = core.live.answers.over.get(beat.node)
    if not over or last.session == beat.session:
        return []
    kinds = _ANSWERED if beat.control_seen < last.control_seen else _REFUSED
    due = [one for one in over if one[0].closed in kinds and may_push(one[0], core.now())]
    again = [(fence, times + 1) for fence, times in due if times + 1 < MOST_TIMES]
    core.live.answers.over[beat.node] = deque([*(one for one in over if one not in due), *again])
    return [Tombstone(run=fence.run, up_to_fence=fence.fence, reason=OVER) for fence, _ in due]
