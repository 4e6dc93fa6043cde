"""Keeps what Redis shows true: the jobs of closed fences leave the node queues and registries."""

from __future__ import annotations

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.control.core import Core
from pancode.domain.records import Closed, Fence, FenceState
from pancode.ports import QueueView, Transaction

EVERY_MS = 60_000


def tidy(core: Core) -> None:
    """Close the jobs of fences that are closed: now when one was closed lately, else once a minute."""
    boot = core.ports.clock.boot_ms()
    if not core.live.closed_any and boot - core.live.tidied_ms < EVERY_MS:
        return
    core.live.tidied_ms, core.live.closed_any = boot, False
    queues = [queue for queue in core.ports.bus.queues() if queue.name.startswith("node.")]
    with core.ports.ledger.transaction() as tx:
        over = [found for queue in queues for found in _over(tx, queue)]
    for tag, identity, fence in over:
        ok = fence is not None and fence.closed is Closed.RECEIPT
        why = "receipt delivered" if ok else f"closed: {fence.closed if fence else 'unknown fence'}"
        core.ports.bus.close_job(tag, identity, ok, why)


def _over(tx: Transaction, queue: QueueView) -> list[tuple[str, AttemptId, Fence | None]]:
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
