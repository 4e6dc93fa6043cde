"""Writes the durable settings of the whole fleet: paused, draining, the applied preset."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import Setting


def put_setting(core: Core, name: str, value: object | None, by: str) -> None:
    """Change one durable setting; None removes it."""
    with unit_of_work(core) as work:
        if value is None:
            work.tx.delete(Setting, name)
        else:
            work.tx.put(Setting(name, value, core.wall_ms(), by))
        work.audit("fleet", "info", f"setting {name}", by=by, value=value)


def record_preset(core: Core, name: str | None, before: str | None, by: str) -> None:
    """Put on record that a preset was applied; `name` None: none is applied any more."""
    with unit_of_work(core) as work:
        what = "preset applied" if name is not None else "preset unset"
        work.audit("config", "info", what, None, preset=name, before=before, by=by)
