"""The newest events of the fleet in memory: one reader for all watchers."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable

from pancode.core.ports import Transaction
from pancode.core.records import FeedEvent

MOST = 5_000
"""So many of the newest are kept, in the ledger and here."""


class Feed:
    """Filled when a coordinator starts, then after each commit. Safe to ask from any thread."""

    most = MOST

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[FeedEvent] = []
        self._listeners: list[Callable[[], None]] = []

    def load(self, tx: Transaction) -> None:
        """Loads the events that the ledger has kept."""
        with self._lock:
            self._events = tx.find(FeedEvent, order="number")

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this whenever something new is there; it may not wait."""
        self._listeners.append(listener)

    def publish(self, events: Iterable[FeedEvent]) -> None:
        """These are durable now, and newer than all others."""
        with self._lock:
            self._events.extend(events)
            del self._events[: max(0, len(self._events) - MOST)]
        for listener in self._listeners:
            listener()

    @property
    def last(self) -> int:
        """Number of the newest; 0: there is none."""
        with self._lock:
            return self._events[-1].number if self._events else 0

    def oldest(self, count: int) -> list[FeedEvent]:
        """The next that have to go."""
        with self._lock:
            return self._events[:count]

    def beyond(self, more: int) -> int:
        """So many too many are kept when `more` are added."""
        return len(self) + more - MOST

    def __len__(self) -> int:
        return len(self._events)

    def newest(self, count: int) -> list[FeedEvent]:
        """In the order in which they happened."""
        with self._lock:
            return self._events[max(0, len(self._events) - count) :]

    def since(self, number: int) -> list[FeedEvent] | None:
        """All that came after this one; None: it is not known any more, so something may be missing.

        In each epoch they begin higher: one that only a ledger of before a restore knew is not known.
        """
        with self._lock:
            if number == 0 and not self._events:
                return []
            place = bisect_left(self._events, number, key=lambda event: event.number)
            if place == len(self._events) or self._events[place].number != number:
                return None
            return self._events[place + 1 :]
