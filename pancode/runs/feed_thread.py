"""A background thread of the coordinator that runs passes, triggered by an event, an action or a timeout."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

from pancode.kernel.records import Record
from pancode.kernel.states import ActionKind, EventKind
from pancode.kernel.threads import EssentialThread
from pancode.runs.core import Core

log = logging.getLogger("pancode.threads")
JOIN_S = 30


class FeedThread(ABC):
    """A thread that reacts to events and actions. Can be started and stopped once; logs failed passes."""

    def __init__(
        self,
        core: Core,
        name: str,
        again_s: float,
        kinds: frozenset[EventKind] | None = None,
        actions: Collection[ActionKind] = (),
        only_with: tuple[type[Record], Mapping[str, object]] | None = None,
    ) -> None:
        """`again_s`: seconds from a failed pass until the next one. `kinds`: kinds of events that trigger a
        pass; None: all. `actions`: kinds of follow-on actions that trigger a pass. `only_with`: passes are
        run only while the ledger has a row of this type with these values."""
        self._core, self._again_s, self._only_with = core, again_s, only_with
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._thread = EssentialThread(self._run_turns, name)
        core.feed.listen(self._woken.set, kinds)
        core.kept.listen(self._woken.set, actions)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; return when no write is in progress any more. Idempotent."""
        self._end()
        self._join()

    def wake(self) -> None:
        """Run a pass now."""
        self._woken.set()

    @abstractmethod
    def run_pass(self) -> float | None:
        """Run a pass; return the seconds until the next; None: only an event or an action triggers it."""

    def _wait_turn(self) -> float:
        """Wait at least `again_s` before the next pass; only a stop ends this wait early."""
        self._stopping.wait(self._again_s)
        return 0.0

    def _end(self) -> None:
        """Prevent further passes."""
        self._stopping.set()
        self._woken.set()

    def _join(self) -> None:
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    @property
    def is_idle(self) -> bool:
        """Whether the ledger has no row for which this thread runs passes."""
        if self._only_with is None:
            return False
        with self._core.ports.ledger.transaction() as tx:
            return not tx.find(*self._only_with, limit=1)

    def _run_turns(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                wait_s = self._again_s if self.is_idle else self.run_pass()
            except MemoryError:
                raise
            except Exception:
                log.exception("%s: a turn broke", self._thread.name)
                wait_s = self._wait_turn()
            self._woken.wait(wait_s)
