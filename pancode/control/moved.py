"""Loads what a word is about, and writes what it has changed, with the story and the holds that go back."""

from __future__ import annotations

from node_agent.wire.identity import AttemptId
from node_agent.wire.logs import OrderStage
from pancode.control.core import Core
from pancode.control.settle import free_holds
from pancode.domain.lifecycle import Moved, Trio
from pancode.domain.orders import identity_of
from pancode.domain.records import Attempt, Closed, Fence, Run
from pancode.domain.values import replace
from pancode.ports import Transaction


def load(tx: Transaction, identity: AttemptId) -> Trio | None:
    """Run, attempt and fence of an identity, None unless all three are here and agree."""
    run = tx.get(Run, identity.run)
    attempt = tx.get(Attempt, identity.run, identity.attempt)
    fence = tx.get(Fence, identity.run, identity.fence)
    if run is None or attempt is None or fence is None or fence.attempt != identity.attempt:
        return None
    return Trio(run, attempt, fence)


def with_vain(tx: Transaction, trio: Trio) -> Trio:
    """The same with how often its attempt came back before, which only a fence that comes back asks for."""
    mine, kinds = trio.fence, (Closed.REFUSED, Closed.NEVER_ACCEPTED)
    back = [
        other
        for other in tx.find(Fence, {"run": mine.run})
        if other.attempt == mine.attempt
        and other.closed in kinds
        and other.start_by_epoch == mine.start_by_epoch
    ]
    return replace(trio, vain=len(back))


def save(core: Core, tx: Transaction, before: Trio, moved: Moved) -> None:
    """Write what has changed, tell the story, give back what a freed fence held."""
    after = moved.trio
    ends = after.run.outcome is not None and before.run.outcome is None
    for old, new in ((before.run, after.run), (before.attempt, after.attempt), (before.fence, after.fence)):
        if new != old:
            core.put_ended(tx, new) if new is after.run and ends else tx.put(new)
    if moved.story:
        core.tell(tx, after.run.id, "node", after.fence.node, moved.verdict, moved.story)
    if not moved.free:
        return
    core.note_stage(after.fence, OrderStage.CLOSED, str(after.fence.closed))
    identity = identity_of(after.fence)
    core.live.closed.append(identity)
    core.live.freed.setdefault(after.fence.tag, set()).add(str(identity))
    if after.attempt.outcome is not None and before.attempt.outcome is None:
        free_holds(core, tx, after.fence, moved.story, None)
    else:
        pause = core.wall_ms() + core.rules.refused_pause_ms
        free_holds(core, tx, after.fence, moved.story, after.fence.node)
        if after.run.outcome is None and moved.verdict == "refused":
            tx.put(replace(after.run, retry_at_ms=pause))
