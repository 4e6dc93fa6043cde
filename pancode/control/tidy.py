"""Keeps what Redis shows true: the jobs of closed fences leave the node queues and registries."""

from __future__ import annotations

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.control.core import Core
from pancode.domain.records import Closed, Fence, FenceState
from pancode.ports import Over, QueueView, Transaction

EVERY_MS = 60_000


def tidy(core: Core) -> None:
    """Close the jobs of fences that are closed: those of the last round now, whatever is left each minute."""
    boot = core.ports.clock.boot_ms()
    everything = boot - core.live.tidied_ms >= EVERY_MS
    if not everything and not core.live.closed:
        return
    queues = [q for q in core.ports.bus.queues() if q.name.startswith("node.")] if everything else []
    with core.ports.ledger.transaction() as tx:
        over = [*_closed(core, tx), *(found for queue in queues for found in _over(tx, queue))]
    core.ports.bus.close_jobs([_job_of(*one) for one in over])
    core.live.closed.clear()
    if everything:
        core.live.tidied_ms = boot


Found = tuple[str, AttemptId, Fence | None]


def _job_of(tag: str, identity: AttemptId, fence: Fence | None) -> Over:
    ok = fence is not None and fence.closed is Closed.RECEIPT
    why = "receipt delivered" if ok else f"closed: {fence.closed if fence else 'unknown fence'}"
    return Over(tag, identity, ok, why)


def _closed(core: Core, tx: Transaction) -> list[Found]:
    """What was said to be closed and is: the commit that closed it may have failed."""
    found = [(identity, tx.get(Fence, identity.run, identity.fence)) for identity in core.live.closed]
    return [(f.tag, i, f) for i, f in found if f is not None and f.state is FenceState.CLOSED]


def _over(tx: Transaction, queue: QueueView) -> list[Found]:
    """Jobs of the queue whose fence is closed or unknown here."""
    found = []
    for job in (*queue.waiting, *queue.started):
        owner = keys.job_owner(job)
        if owner is None:
            continue
        fence = tx.get(Fence, owner[1].run, owner[1].fence)
        if fence is None or fence.state is FenceState.CLOSED:
            found.append((*owner, fence))
    return found
