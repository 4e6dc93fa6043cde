"""Decides the order in which nodes' messages are handled, so that none waits for a busy one."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.core.ports import UpMessage
from pancode.core.quota import is_full


def take_fairly(streams: Sequence[Sequence[UpMessage]], limit: int) -> list[UpMessage]:
    """At most `limit` messages, each stream in its own order, one of each in turn, so that no node crowds out
    others.

    A node gets no more than its share of a round.
    """
    batch: list[UpMessage] = []
    streams = [_share(stream) for stream in streams]
    for position in range(max((len(stream) for stream in streams), default=0)):
        if len(batch) >= limit:
            break
        batch += [stream[position] for stream in streams if position < len(stream)]
    return batch[:limit]


def _share(stream: Sequence[UpMessage]) -> Sequence[UpMessage]:
    size = 0
    for position, message in enumerate(stream):
        if is_full(position, size):
            return stream[:position]
        size += len(message.data)
    return stream
