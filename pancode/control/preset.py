"""Puts on record which preset the fleet's dispatches have from now on."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.work import unit_of_work


def record_applied(core: Core, name: str | None, before: str | None, by: str) -> None:
    """`name` None: no preset any more."""
    with unit_of_work(core) as work:
        what = "preset applied" if name is not None else "preset unset"
        work.audit("admission", "info", what, None, preset=name, before=before, by=by)
