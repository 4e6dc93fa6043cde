"""Threads for short pieces of work; an idle thread waits a while for the next piece, then ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

IDLE_S = 5.0
Work = Callable[[], None]


class Crew:
    """A pool with as many threads as tasks. Starting one costs more than most of the tasks."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Work]] = []
        """The queues of waiting threads; the one that began to wait last comes first."""

    def do(self, work: Work) -> None:
        """Begin it now, in another thread; it must raise nothing."""
        with self._lock:
            waiting = self._idle.pop() if self._idle else None
        if waiting is None:
            threading.Thread(target=self._go, args=(work,), name="crew", daemon=True).start()
        else:
            waiting.put(work)

    def _go(self, work: Work) -> None:
        queue: SimpleQueue[Work] = SimpleQueue()
        while True:
            work()
            with self._lock:
                self._idle.append(queue)
            try:
                work = queue.get(timeout=self._idle_s)
            except Empty:
                if self._left(queue):
                    return
                work = queue.get()  # it was asked in the moment in which it would have ended

    def _left(self, queue: SimpleQueue[Work]) -> bool:
        """Check whether it may end: nobody has asked it, and nobody will."""
        with self._lock:
            if queue not in self._idle:
                return False
            self._idle.remove(queue)
            return True
