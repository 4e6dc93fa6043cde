"""Gives waiting runs to nodes that asked for work: one signed order for each free slot."""

from __future__ import annotations

from functools import partial

from node_agent.wire.order import Order
from pancode.control import passed_over
from pancode.control.core import Core, open_fences
from pancode.control.runs.standing import free_slots, standing_of
from pancode.control.work import Work, unit_of_work
from pancode.domain.life.case import RunCase
from pancode.domain.life.decide import decide
from pancode.domain.life.signals import Bound, Due, Unbindable, Waits
from pancode.domain.model_server import served
from pancode.domain.orders import fence_of, identity_of, may_push, order_for, with_board
from pancode.domain.placement import Placed, choose, in_order, pool_of
from pancode.domain.records import (
    Attempt,
    Fence,
    FenceState,
    Node,
    Run,
    RunState,
    WaitReason,
    Workflow,
)
from pancode.domain.values import replace
from pancode.errors import UnavailableError
from pancode.ports import Offer, Ticket, Transaction

MANY, MANY_TICKETS = 16, 4
SHOW_MS = 500
"""With more waiting runs than this, their reasons and tickets are refreshed at most this often."""


def bind(core: Core) -> int:
    """Bind what can be bound now; returns how many orders were signed. Pushing them is a separate step."""
    with unit_of_work(core) as work:
        return bind_in(work)


def bind_in(work: Work) -> int:
    """The same inside a transaction, whose commit makes the orders durable."""
    core, tx = work.core, work.tx
    views, fences = core.views(tx), open_fences(tx)
    freed = core.live.contacts.freed
    free = {v.node.name: free_slots(v, fences, freed.get(v.node.tag or "", set())) for v in views}
    if _is_explained(core, core.live.binding.waiting) and not any(slots > 0 for slots in free.values()):
        return 0
    waiting = [run for run in _waiting(work, fences) if _granted(work, run)]
    work.after(partial(setattr, core.live.binding, "waiting", len(waiting)))
    if not waiting:
        return 0
    placed, whole = 0, _is_whole(work, len(waiting))
    standing = standing_of(core, tx, waiting, (views, free))
    if not whole and not standing.has_room:
        return 0
    probes: set[str] = set()
    for decision in choose(waiting, standing, whole):
        if isinstance(decision, Placed):
            if not passed_over.is_second_probe(core, decision.run, decision.node.node.name, probes):
                placed += _bound(work, decision)
        elif decision.run.reason != decision.why:
            work.signal(decision.run, Waits("placement", decision.why, decision.kind))
    return placed


def _is_whole(work: Work, many: int) -> bool:
    """Whether this round decides of all that wait, and not only of those for whom there is room now."""
    core = work.core
    if _is_explained(core, many):
        return False
    work.after(partial(setattr, core.live.binding, "explained_ms", core.ports.clock.boot_ms()))
    return True


def _is_explained(core: Core, many: int) -> bool:
    """Whether so many wait that it was taken down often enough why each does."""
    return many > MANY and 0 <= core.ports.clock.boot_ms() - core.live.binding.explained_ms < SHOW_MS


def push_offers(core: Core) -> None:
    """Put every offered order that may still be pushed into its queue; repeated, byte for byte."""
    now, boot = core.now(), core.ports.clock.boot_ms()
    with core.ports.ledger.transaction() as tx:
        offered = tx.find(Fence, {"state": FenceState.OFFERED})
    keys = {str(identity_of(fence)) for fence in offered}
    core.live.binding.pushed_ms = {key: ms for key, ms in core.live.binding.pushed_ms.items() if key in keys}
    due = []
    for fence in offered:
        last = core.live.binding.pushed_ms.get(str(identity_of(fence)))
        if (last is None or boot - last >= core.rules.push_again_ms) and may_push(fence, now):
            due.append(Offer(fence.tag, identity_of(fence), fence.order))
    core.ports.bus.push_orders(due)
    core.live.binding.pushed_ms.update((str(offer.identity), boot) for offer in due)


def show_tickets(core: Core) -> None:
    """Make the pool queues show what waits; only when that has changed, and a long list not at every turn."""
    boot, shown = core.ports.clock.boot_ms(), core.live.binding.tickets
    if isinstance(shown, tuple) and len(shown) > MANY_TICKETS and boot - core.live.binding.shown_ms < SHOW_MS:
        return
    with core.ports.ledger.transaction() as tx:
        open_runs = {f.run for f in open_fences(tx)}
        runs = [r for r in tx.find(Run, {"state": RunState.PENDING}) if r.id not in open_runs]
    tickets = tuple(
        Ticket(f"pool.{pool_of(r)}", r.id, r.attempt, r.task[:200], r.agent, r.priority)
        for r in in_order(runs)
    )
    if tickets != core.live.binding.tickets:
        core.ports.bus.show_tickets(tickets)
        core.live.binding.tickets, core.live.binding.shown_ms = tickets, boot


def _waiting(work: Work, fences: list[Fence]) -> list[Run]:
    """Pending runs without an open fence whose time has come, in serving order."""
    bound = {f.run for f in fences}
    runs = work.tx.find(Run, {"state": RunState.PENDING})
    due = [r for r in runs if r.id not in bound and _is_due(work, r) and not _may_still_run(work, r)]
    return in_order(due)


def _is_due(work: Work, run: Run) -> bool:
    """Its pause is over. A long pause is one that a provider asked for, or the wall clock was set back: then
    it shows an earlier time than the end of the attempt before."""
    if run.waits in (WaitReason.WORKFLOW, WaitReason.PERSON):
        return False
    rules, now = work.core.rules, work.core.wall_ms()
    left = 0 if run.retry_at_ms is None else run.retry_at_ms - now
    if left <= max(rules.refused_pause_ms, rules.retry_pause_ms):
        return left <= 0
    before = work.tx.get(Attempt, run.id, run.attempt - 1)
    return before is None or before.finished_ms is None or now < before.finished_ms


def _may_still_run(work: Work, run: Run) -> bool:
    """An attempt of it that a restored ledger does not know is on some node: it was told to end."""
    if not work.core.live.journals.strays.get(run.id) or run.read_only or run.on_lost == "retry":
        return False
    why = "an attempt that this ledger does not know is still being ended"
    if run.reason != why:
        work.signal(run, Waits("placement", why, WaitReason.OLDER_ATTEMPT))
    return True


def _granted(work: Work, run: Run) -> bool:
    """Attempt 1 has its hold from admission; a later attempt takes its own, or waits for the budget."""
    if run.attempt == 1:
        return True
    due = work.signal(run, Due(work.core.purses(work.tx, run)))
    return due.outcome is None and work.tx.get(Attempt, run.id, run.attempt) is not None


def _bound(work: Work, placed: Placed) -> bool:
    """Whether it could be: a run of which no order can be made ends, and holds up no other."""
    core, case, view = work.core, work.case(placed.run), placed.node
    try:
        order = _order(core, work.tx, case, view.node)
    except (ValueError, KeyError, TypeError, ArithmeticError) as exc:
        work.apply(decide(case, Unbindable(f"no order can be made of it: {exc}")))
        return False
    fence = fence_of(order, order.signed(core.key_for(view.node)), view.node.name)
    about = served(case.run, view, core.wall_ms())
    work.apply(decide(case, Bound(fence, placed.why, about)))
    return True


def _order(core: Core, tx: Transaction, case: RunCase, node: Node) -> Order:
    """One fence: its number was never used before."""
    if node.tag is None:
        raise UnavailableError(f"node {node.name} is not enrolled")
    run, left = case.run, case.left(case.run.attempt)
    number = max(core.highest_fence(run), core.live.journals.floors.get(run.id, 0)) + 1
    start_by = core.now().plus(core.rules.start_by_ms)
    due = run if left is None else replace(run, limits={**run.limits, "usd": f"{left:f}"})
    workflow = tx.get(Workflow, run.workflow) if run.workflow is not None else None
    due = due if workflow is None else with_board(due, workflow)
    return order_for(due, core.fleet, node.tag, number, (core.wall_ms(), start_by))
