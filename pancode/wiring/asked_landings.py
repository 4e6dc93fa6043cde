"""The thread that lands, one after the other, what was dispatched with `--land` and is done."""

from __future__ import annotations

import logging
import threading

from pancode.control.core import Core
from pancode.control.landed import land_asked
from pancode.domain.records import Run
from pancode.wiring.code import DepotCode

log = logging.getLogger("pancode.land")


class AskedLandings:
    """Started once, stopped once. What is being landed when it stops is called off, and landed next time."""

    def __init__(self, core: Core, code: DepotCode) -> None:
        self._core = core
        self._code = code
        self._stopping = threading.Event()
        self._now: Run | None = None
        self._thread = threading.Thread(target=self._go, name="landings", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is being written any more. Idempotent."""
        self._stopping.set()
        self._core.live.to_land.put(None)
        now = self._now
        if now is not None:
            self._code.call_off(now)
        if self._thread.is_alive():
            self._thread.join(30)

    def _go(self) -> None:
        while (run := self._core.live.to_land.get()) is not None:
            try:
                land_asked(self._core, run, self._land, self._stopping.is_set)
            except Exception:
                log.exception("landing %s failed; it is tried again at the next start", run)
            if self._stopping.is_set():
                return

    def _land(self, run: Run) -> dict[str, object]:
        self._now = run
        try:
            return self._code.land(run, gates=True)
        finally:
            self._now = None
