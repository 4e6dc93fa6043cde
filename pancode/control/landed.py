"""Writes down that a run's change is in its owner's tree."""

from __future__ import annotations

from dataclasses import replace

from pancode.control.core import Core
from pancode.domain.records import Run


def landed(core: Core, run_id: str, commit: str, files: int) -> None:
    """For `runs show` and `why`. Idempotent but for the story."""
    with core.lock, core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id)
        if run is not None:
            tx.put(replace(run, landed=commit))
            core.tell(tx, run_id, "land", commit[:12], "landed", f"{files} files")
            core.audit(tx, "land", "info", "landed", run_id, commit=commit, files=files)
