"""Collects the facts for placement: nodes, free slots, pauses, records, and the room in the books."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from pancode.account.track_records import TrackRecord, WorkerKind, of_nodes, worker_kind
from pancode.control import passed_over
from pancode.control.core import CEILING, WORK_CEILING, Core
from pancode.core import books
from pancode.core.ports import Transaction
from pancode.core.records import Attempt, Balance, Fence, Run, Setting
from pancode.life.case import holds_slot
from pancode.life.orders import identity_of
from pancode.life.placement import Standing
from pancode.nodes.node import NodeView

_OF_NODES = (f"{CEILING}node", f"{WORK_CEILING}node")


def standing_of(
    core: Core, tx: Transaction, waiting: list[Run], at: tuple[list[NodeView], dict[str, int]]
) -> Standing:
    """The state of the fleet for placement. `at`: the nodes, and the free slots of each."""
    views, free = at
    paused = tx.get(Setting, "paused")
    settings = tx.find(Setting)
    queues = {s.name.removeprefix("pause:"): str(s.value) for s in settings if s.name.startswith("pause:")}
    return Standing(
        nodes=tuple(views),
        free=free,
        paused=str(paused.value) if paused else None,
        paused_queues=queues,
        resting=passed_over.resting(core),
        shunned=passed_over.kept_from(core, tx, waiting, views),
        due=_due(tx, waiting),
        records=_records(core, waiting) if len(views) > 1 else {},
        room=_room(core, tx, views) if any(s.name.startswith(_OF_NODES) for s in settings) else {},
    )


def has_rooms(tx: Transaction) -> bool:
    """Whether a node has its own ceiling, so that a run's hold decides where it may go."""
    return any(tx.starting(Setting, name, 1) for name in _OF_NODES)


def _records(core: Core, waiting: list[Run]) -> dict[WorkerKind, Mapping[str, TrackRecord]]:
    """The records that were read already: binding reads nothing for them."""
    known = core.live.recent
    sums = known.sums if known is not None else {}
    return {kind: of_nodes(sums, *kind) for kind in {worker_kind(run) for run in waiting}} if sums else {}


def _room(core: Core, tx: Transaction, views: list[NodeView]) -> dict[str, tuple[Balance, books.Ceilings]]:
    """The books of each node with ceilings of its own, and these ceilings."""
    room = {}
    for name in (view.node.name for view in views):
        scope = books.node_scope(name)
        ceilings = core.ceilings(tx, scope)
        if ceilings != books.NO_CEILING:
            room[name] = tx.get(Balance, scope) or Balance(scope), ceilings
    return room


def _due(tx: Transaction, waiting: list[Run]) -> dict[str, Decimal]:
    """The hold of later attempts, which may be less than the estimate."""
    later = [(run.id, tx.get(Attempt, run.id, run.attempt)) for run in waiting if run.attempt > 1]
    return {run: attempt.held_usd for run, attempt in later if attempt is not None}


def free_slots(view: NodeView, fences: list[Fence], freed: Collection[str]) -> int:
    """The slots of the node less the fences that may occupy one, by our count and by the node's own.

    A heartbeat is seconds old: the ends that the node has signed since then (`freed`) stay counted.
    """
    if view.last is None:
        return 0
    ask = view.last.heartbeat.ask
    ours = {str(identity_of(f)) for f in fences if f.node == view.node.name and holds_slot(f)}
    theirs = {str(i) for i in ask.open}.difference(freed)
    return min(ask.slots, view.node.slots) - len(ours | theirs)
