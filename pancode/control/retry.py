"""Again, by a person's word: a new run of the same work."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.control import Tombstone
from node_agent.wire.failure import Outcome
from pancode.control.core import Core
from pancode.control.enqueue import admit
from pancode.control.settle import GIVEN_UP
from pancode.domain.records import Closed, Fence, Node, Run, RunState
from pancode.errors import NotFoundError, UsageError
from pancode.ports import Transaction


def retry(core: Core, run_id: str, new_id: str, by: str) -> Run:
    """A new run of the same work; a lost one is given up for good, wherever it may still be running.

    One commit: when the budget refuses the new run, the old one is not given up either.
    """
    with core.ports.ledger.transaction() as tx:
        old = tx.get(Run, run_id)
        if old is None:
            raise NotFoundError(f"no run {run_id}", fix="pancode runs")
        if old.state is not RunState.ENDED:
            raise UsageError(f"{run_id} has not ended", fix=f"pancode runs stop {run_id}")
        fresh = admit(core, tx, _fresh(core, old, new_id, by))
        bury(core, tx, old, new_id)
        return fresh


def _fresh(core: Core, old: Run, new_id: str, by: str) -> Run:
    return replace(
        old,
        id=new_id,
        created_ms=core.wall_ms(),
        created_by=by,
        retry_of=old.id,
        state=RunState.PENDING,
        reason="queued",
        attempt=1,
        fence=0,
        stop_asked=None,
        outcome=None,
        failure=None,
        exit_code=None,
        result={},
        started_ms=None,
        finished_ms=None,
        retry_at_ms=None,
        landed=None,
    )


def bury(core: Core, tx: Transaction, run: Run, new_id: str) -> None:
    """Whatever of it may still run ends; what comes of it later is evidence and cost."""
    if run.outcome is not Outcome.LOST:
        return
    tx.put(replace(run, result={**run.result, GIVEN_UP: new_id}))
    for fence in tx.find(Fence, {"run": run.id}):
        node = tx.get(Node, fence.node)
        if fence.receipt is None and fence.closed is Closed.LOST and node is not None:
            body = Tombstone(run=run.id, up_to_fence=fence.fence, reason=f"given up for {new_id}")
            core.issue(tx, node, body)
    core.tell(tx, run.id, "retry", new_id, "given up", f"replaced by {new_id}")
