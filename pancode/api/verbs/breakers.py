"""Verbs of circuit breakers: show them, reset one."""

from __future__ import annotations

from pancode.control import breakers
from pancode.control.core import Core
from pancode.control.faces import Json
from pancode.control.work import unit_of_work
from pancode.core.names import not_found


class BreakerVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def show(self) -> list[Json]:
        """All breakers that an attempt of late was about, those that hold something up first."""
        with self._core.lock:
            return [
                {
                    "name": one.name,
                    "state": one.state.value,
                    "failures": one.failures,
                    "until_ms": one.until_ms,
                    "why": one.why,
                }
                for one in breakers.now(self._core)
            ]

    def reset(self, name: str, by: str) -> None:
        """Close it: failures until now do not count any more. NotFoundError."""
        with self._core.lock:
            known = breakers.names(self._core)
            if name not in known:
                raise not_found("breaker", name, known, "pancode breakers")
            at = self._core.wall_ms()
            with unit_of_work(self._core) as work:
                breakers.reset(work.tx, name, at, by)
                work.audit("people", "info", "breaker reset", None, by=by, breaker=name)
                work.after(lambda: self._core.live.breaker_resets.__setitem__(name, at))
