"""Decides the order in which nodes' messages are handled, so that none waits for a busy one."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.ports import UpMessage


def take_fairly(streams: Sequence[Sequence[UpMessage]], limit: int) -> list[UpMessage]:
    """At most `limit`, each stream in its own order, one of each in turn: no node crowds out the others."""
    batch: list[UpMessage] = []
    for position in range(max((len(stream) for stream in streams), default=0)):
        if len(batch) >= limit:
            break
        batch += [stream[position] for stream in streams if position < len(stream)]
    return batch[:limit]
