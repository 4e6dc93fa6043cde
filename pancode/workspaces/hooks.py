"""What a workspace needs of the runs that were dispatched by its name."""

from __future__ import annotations

from pancode.kernel.ports import Transaction
from pancode.kernel.records import KeptWorkspace, Run
from pancode.runs.facets import Lineage
from pancode.runs.retention.rules import FilesNeed


def find_need(tx: Transaction, run: Run) -> FilesNeed | None:
    """Why the run's files stay: a workspace that has not ended stands on it."""
    kept = tx.get(KeptWorkspace, Lineage.of(run).in_workspace)
    return None if kept is None or kept.ended else FilesNeed.WORKSPACE
