"""Again, by a person's word: a new run of the same work."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.control import Tombstone
from node_agent.wire.failure import Outcome
from pancode.control.core import Core
from pancode.control.enqueue import enqueue
from pancode.domain.records import Fence, Node, Run, RunState
from pancode.errors import NotFoundError, UsageError


def retry(core: Core, run_id: str, new_id: str, by: str) -> Run:
    """A new run of the same work; a lost one is given up for good, wherever it may still be running."""
    with core.ports.ledger.transaction() as tx:
        old = tx.get(Run, run_id)
        if old is None:
            raise NotFoundError(f"no run {run_id}", fix="pancode runs")
        if old.state is not RunState.ENDED:
            raise UsageError(f"{run_id} has not ended", fix=f"pancode runs stop {run_id}")
    if old.outcome is Outcome.LOST:
        bury(core, run_id, new_id)
    fresh = replace(
        old,
        id=new_id,
        created_ms=core.wall_ms(),
        created_by=by,
        retry_of=run_id,
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
    return enqueue(core, fresh)


def bury(core: Core, run_id: str, new_id: str) -> None:
    """Give a lost run up for good, wherever it may still be running."""
    with core.ports.ledger.transaction() as tx:
        for fence in tx.find(Fence, {"run": run_id}):
            node = tx.get(Node, fence.node)
            if fence.receipt is None and node is not None:
                body = Tombstone(run=run_id, up_to_fence=fence.fence, reason=f"given up for {new_id}")
                core.issue(tx, node, body)
        core.tell(tx, run_id, "retry", new_id, "given up", f"replaced by {new_id}")
