"""Lands the changes of runs that were dispatched with `--land` and are done."""

from __future__ import annotations

from collections.abc import Callable

from pancode.control.core import Core
from pancode.control.faces import LandWay
from pancode.control.landed import give_up, is_asked, land_asked
from pancode.domain.records import Run
from pancode.wiring.code import DepotCode


class AskedLandings:
    """A pancode.control.followon.Doer."""

    def __init__(self, core: Core, code: DepotCode) -> None:
        self._core, self._code = core, code
        self._now: Run | None = None

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        land_asked(self._core, run, self._land, stopping)

    def give_up(self, run: str, error: Exception) -> None:
        give_up(self._core, run, error)

    def cut_short(self) -> None:
        now = self._now
        if now is not None:
            self._code.cut_short(now)

    def _land(self, run: Run) -> dict[str, object]:
        self._now = run
        try:
            asked = LandWay(by=f"{run.created_by} (dispatch --land)")
            return self._code.land(run, asked, wanted=lambda: is_asked(self._core, run.id))
        finally:
            self._now = None
