"""The last step of admission: the hold, the run and the end of what it replaces, in one commit."""

from __future__ import annotations

from node_agent.wire.control import Tombstone
from node_agent.wire.failure import Outcome
from pancode.control.core import Core
from pancode.control.settle import GIVEN_UP
from pancode.domain import books
from pancode.domain.records import Closed, Fence, Node, Run
from pancode.domain.values import replace
from pancode.errors import RefusedError
from pancode.ports import Transaction


def enqueue(core: Core, run: Run) -> Run:
    """Queue an admitted run; RefusedError with the numbers when a ceiling has no room for its estimate."""
    with core.ports.ledger.transaction() as tx:
        return admit(core, tx, run)


def admit(core: Core, tx: Transaction, run: Run) -> Run:
    """The same inside a transaction, which a refusal rolls back: then nothing was given up either."""
    refused = core.hold(tx, run, books.Account(run.id, run.attempt))
    if refused is not None:
        raise RefusedError(
            refused, why="the ceiling of this scope has no room", fix="pancode budget show", code="budget"
        )
    admitted = replace(run, epoch=core.epoch)
    tx.insert(admitted)
    core.tell(tx, run.id, "gate", "budget", "held", f"${run.estimate_usd:.2f}")
    old = tx.get(Run, run.retry_of) if run.retry_of is not None else None
    if old is not None:
        _bury(core, tx, old, run.id)
    return admitted


def _bury(core: Core, tx: Transaction, run: Run, new_id: str) -> None:
    """A lost run is given up for good: what may still run of it ends; what comes is evidence and cost."""
    if run.outcome is not Outcome.LOST:
        return
    tx.put(replace(run, result={**run.result, GIVEN_UP: new_id}))
    for fence in tx.find(Fence, {"run": run.id}):
        node = tx.get(Node, fence.node)
        if fence.receipt is None and fence.closed is Closed.LOST and node is not None:
            body = Tombstone(run=run.id, up_to_fence=fence.fence, reason=f"given up for {new_id}")
            core.issue(tx, node, body)
    core.tell(tx, run.id, "retry", new_id, "given up", f"replaced by {new_id}")
