"""Keeps the values that runs write on the board of their workflow."""

from __future__ import annotations

from node_agent.wire.receipt import Claims
from pancode.control.work import Work
from pancode.core import board
from pancode.core.records import Run, Workflow


def keep(work: Work, claims: Claims) -> None:
    """The values of an accepted receipt, in the transaction that accepts it; none of a run alone."""
    run = work.tx.get(Run, claims.identity.run)
    workflow = work.tx.get(Workflow, run.workflow) if run is not None and run.workflow is not None else None
    if run is None or workflow is None:
        return
    after, full = board.with_values(workflow, run, claims.board, work.core.wall_ms())
    work.tx.put(after)
    names = ", ".join(f"{one.namespace}/{one.key}" for one in claims.board)
    work.tell(run.id, "board", "board", "written", names)
    for words in full:
        work.tell(run.id, "board", "board", "full", words)
