"""The thread that lands, one after the other, what was dispatched with `--land` and is done."""

from __future__ import annotations

import logging
import threading

from pancode.control.core import Core
from pancode.control.landed import LandWay, give_up, is_asked, land_asked
from pancode.domain.records import Run
from pancode.errors import UnavailableError
from pancode.wiring.code import DepotCode

log = logging.getLogger("pancode.land")
AGAIN_S = 15.0
"""Until one that could not be written down is tried again."""


class AskedLandings:
    """Started once, stopped once. What is being landed when it stops is called off, and landed next time."""

    def __init__(self, core: Core, code: DepotCode, again_s: float = AGAIN_S) -> None:
        self._core = core
        self._again_s = again_s
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
            self._code.cut_short(now)
        if self._thread.is_alive():
            self._thread.join(30)

    def _go(self) -> None:
        while (run := self._core.live.to_land.get()) is not None:
            try:
                land_asked(self._core, run, self._land, self._stopping.is_set)
            except UnavailableError as error:
                log.warning("landing %s waits: %s: %s", run, error, error.why)
                if not self._stopping.wait(self._again_s):
                    self._core.live.to_land.put(run)
            except Exception as error:
                log.exception("landing %s failed", run)
                self._give_up(run, error)
            if self._stopping.is_set():
                return

    def _give_up(self, run: str, error: Exception) -> None:
        try:
            give_up(self._core, run, error)
        except Exception:
            log.exception("that %s failed could not be written down; it is landed at the next start", run)

    def _land(self, run: Run) -> dict[str, object]:
        self._now = run
        try:
            asked = LandWay(by=f"{run.created_by} (dispatch --land)")
            return self._code.land(run, asked, wanted=lambda: is_asked(self._core, run.id))
        finally:
            self._now = None
