"""The coordinator's own thread: listen, one round, again; what goes wrong in a round never ends it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from pancode.api.desk import Desk
from pancode.errors import PancodeError, UnavailableError

log = logging.getLogger("pancode.rounds")

LISTEN_MS = 1_000
LOOK_MS = 5_000
BUSY_MS, GATHER_S = 20, 0.004
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Rounds:
    """Started once, stopped once. What goes wrong in a round is logged, mended and tried again."""

    def __init__(self, desk: Desk, held: Callable[[], bool] = lambda: True) -> None:
        """`held`: whether the home is still ours; when it is not, the process is told to end."""
        self._desk = desk
        self._held = held
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._go, name="rounds", daemon=True)
        beat_ms = desk.core.rules.beat_ms
        self._wait_ms = max(20, min(LISTEN_MS, beat_ms // 4))
        self._ended_ms = 0
        self._looked_ms = desk.core.ports.clock.mono_ms()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the current round has ended."""
        self._stopping.set()
        self._thread.join(30)
        with suppress(PancodeError):
            self._desk.coordinator.plane.turn()  # the last word: what was asked just now still goes out

    def _go(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            if not self._held():
                log.error("the home was removed or replaced under this coordinator: it ends")
                self._desk.shutdown()
                return
            try:
                self._round()
                failures = 0
            except Exception as error:
                self._failed(error, failures)
                failures += 1

    def _round(self) -> None:
        self._look_after_redis()
        plane = self._desk.coordinator.plane
        heard = plane.listen(self._wait_ms)
        now = self._desk.core.ports.clock.mono_ms()
        if heard and now - self._ended_ms < BUSY_MS:  # one word follows the other: take in some at once
            self._stopping.wait(GATHER_S)
        if plane.turn() or heard:
            self._desk.bell.ring()
        self._ended_ms = self._desk.core.ports.clock.mono_ms()

    def _failed(self, error: Exception, failures: int) -> None:
        if isinstance(error, UnavailableError):
            if failures == 0:
                log.warning("%s (%s)", error, error.why)
            self._mend(failed=True)
        else:
            log.error("a round failed", exc_info=error)
        self._stopping.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])

    def _look_after_redis(self) -> None:
        """A fleet without nodes never speaks to Redis, and should find it alive when it does."""
        now = self._desk.core.ports.clock.mono_ms()
        if now - self._looked_ms >= LOOK_MS:
            self._looked_ms = now
            self._mend(failed=False)

    def _mend(self, *, failed: bool) -> None:
        with suppress(PancodeError):
            done = self._desk.coordinator.mend(failed)
            if done:
                log.warning("%s", done)
