"""The landings that are under way, so that one can be called off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Landing:
    """One of them. `ended`: its report, empty while it goes on and when it ended by an error."""

    def __init__(self) -> None:
        self.off = threading.Event()
        self.over = threading.Event()
        self.ended: dict[str, Any] = {}


class Landings:
    """By run; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, list[Landing]] = {}

    @contextmanager
    def of(self, run: str) -> Iterator[Landing]:
        """One that begins here and is over at the end of the block."""
        landing = Landing()
        with self._lock:
            self._under_way.setdefault(run, []).append(landing)
        try:
            yield landing
        finally:
            with self._lock:
                self._under_way[run].remove(landing)
                if not self._under_way[run]:
                    del self._under_way[run]
            landing.over.set()

    def call_off(self, run: str, wait_s: float) -> list[dict[str, Any]]:
        """Ask all of this run to end, and wait for how they did. Empty: there was none."""
        with self._lock:
            meant = list(self._under_way.get(run, ()))
        for landing in meant:
            landing.off.set()
        for landing in meant:
            landing.over.wait(wait_s)
        return [landing.ended or {"status": _unended(landing)} for landing in meant]


def _unended(landing: Landing) -> str:
    return "failed" if landing.over.is_set() else "under way"
