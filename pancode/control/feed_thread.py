"""A background thread of the coordinator takes a turn on an event of the feed, or when a time has passed."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from pancode.control.core import Core
from pancode.essential import EssentialThread

log = logging.getLogger("pancode.threads")
JOIN_S = 30


class FeedThread(ABC):
    """Started once, stopped once. An error in a turn is logged, and never ends the thread."""

    def __init__(self, core: Core, name: str, again_s: float) -> None:
        """`again_s`: the time from a turn that broke until the next one."""
        self._core, self._again_s = core, again_s
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._thread = EssentialThread(self._go, name)
        core.feed.listen(self._woken.set)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is being written any more. Idempotent."""
        self._end()
        self._join()

    def wake(self) -> None:
        """Take a turn now."""
        self._woken.set()

    @abstractmethod
    def _turn(self) -> float | None:
        """Seconds until the next turn, where no event comes before; None: the next event brings it."""

    def _rest(self) -> float:
        """Take no turn for `again_s`, whatever happens, but for a stop; then one at once."""
        self._stopping.wait(self._again_s)
        return 0.0

    def _end(self) -> None:
        """Begin no other turn."""
        self._stopping.set()
        self._woken.set()

    def _join(self) -> None:
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def _go(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                wait_s = self._turn()
            except MemoryError:
                raise
            except Exception:
                log.exception("%s: a turn broke", self._thread.name)
                wait_s = self._rest()
            self._woken.wait(wait_s)
