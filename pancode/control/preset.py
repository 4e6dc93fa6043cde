"""Puts on record which preset the fleet's dispatches have from now on."""

from __future__ import annotations

from pancode.control.core import Core


def record_applied(core: Core, name: str | None, before: str | None, by: str) -> None:
    """`name` None: no preset any more."""
    with core.lock, core.ports.ledger.transaction() as tx:
        what = "preset applied" if name is not None else "preset unset"
        core.audit(tx, "admission", "info", what, None, preset=name, before=before, by=by)
