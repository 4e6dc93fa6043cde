"""Decides whether an order may start or be held: signature, time, fence, slots, the owner's ceiling. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.attempt.ceiling import Ceiling
from node_agent.attempt.records import JournalRecord, PendingStop
from node_agent.wire.failure import OrderRefusal
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.order import Order
from node_agent.wire.signing import PublicKey, WireRefusal, open_as, parse_envelope


@dataclass(frozen=True, slots=True)
class Opened:
    """An order whose signature holds."""

    order: Order
    digest: str
    envelope: str


@dataclass(frozen=True, slots=True)
class Accept:
    """Start it."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep it, with its snapshot, until a slot is free."""


@dataclass(frozen=True, slots=True)
class AlreadyAccepted:
    """These very bytes are in the journal: answer with the mark, start nothing."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never start it. `identity` None: it cannot be believed who it is for, so nothing is said of it."""

    why: OrderRefusal
    detail: str
    identity: AttemptId | None


Judgement = Accept | Hold | AlreadyAccepted | Refuse


@dataclass(frozen=True, slots=True)
class AcceptView:
    """The node's facts at the moment of judging an order."""

    fleet: str
    node: str
    now: FleetTime | None
    epoch_seen: int
    known: JournalRecord | None
    """The journal's entry of this very identity."""
    top_fence: int
    """The highest fence of this run in the journal; 0 for none."""
    stop: PendingStop | None
    tombstone: PendingStop | None
    draining: bool
    revoked: bool
    free_slots: int
    runtimes: frozenset[str]
    """Those that are ready on this node, or not looked at yet."""
    unlogged: frozenset[str]
    """Those that only want a login, which a run at an endpoint of this node does not."""
    ceiling: Ceiling
    disk_ok: bool = True
    may_hold: bool = True
    """Whether it holds fewer orders than it would at most."""


def open_order(data: bytes, keys: Mapping[str, PublicKey]) -> Opened | Refuse:
    """Signature first, then every field."""
    try:
        envelope = parse_envelope(data)
        order = open_as(Order, envelope, keys)
    except WireRefusal as refusal:
        return Refuse(OrderRefusal.BAD_ENVELOPE, f"{refusal.code}: {refusal.detail}", None)
    return Opened(order, envelope.digest(), envelope.model_dump_json())


def judge(opened: Opened, view: AcceptView) -> Judgement:
    """The first rule that speaks decides."""
    order = opened.order
    if order.fleet != view.fleet:
        return Refuse(OrderRefusal.WRONG_FLEET, f"for fleet {order.fleet}", None)
    if order.node != view.node:
        return Refuse(OrderRefusal.WRONG_NODE, f"for node {order.node}", None)
    if view.known is not None:
        if view.known.digest == opened.digest:
            return AlreadyAccepted(view.known.mark)
        detail = f"fence {opened.order.identity} was given to another order ({view.known.digest[:10]})"
        return Refuse(OrderRefusal.FENCE_CONFLICT, detail, opened.order.identity)
    why = _never(order, view) or _not_now(order, view) or _not_here(order, view)
    if why is not None:
        return Refuse(why[0], why[1], order.identity)
    return Hold() if _waits(order, view) else Accept()


def begins(order: Order, view: AcceptView) -> Accept | Hold | Refuse:
    """Whether an order that is held begins now. Its time to be taken is over, and asked for no more."""
    if view.revoked or view.draining:
        state = "no longer of the fleet" if view.revoked else "draining"
        return Refuse(OrderRefusal.TAKEN_BACK, f"this node is {state}", order.identity)
    why = _not_here(order, view)
    if why is not None:
        return Refuse(why[0], why[1], order.identity)
    return Accept() if view.free_slots > 0 and view.disk_ok else Hold()


Why = tuple[OrderRefusal, str] | None


def _never(order: Order, view: AcceptView) -> Why:
    """Problems that no later moment would mend."""
    fence = order.identity.fence
    if view.revoked:
        return OrderRefusal.REVOKED, "this node is no longer of the fleet"
    if order.epoch < view.epoch_seen:
        return OrderRefusal.OLD_EPOCH, f"epoch {order.epoch} is over, it is {view.epoch_seen} now"
    if view.stop is not None:
        return OrderRefusal.STOPPED, view.stop.reason
    if view.tombstone is not None and fence <= view.tombstone.fence:
        return OrderRefusal.TOMBSTONED, view.tombstone.reason
    if fence < view.top_fence:
        return OrderRefusal.OLD_FENCE, f"fence {fence} came after fence {view.top_fence}"
    return None


def _not_now(order: Order, view: AcceptView) -> Why:
    if view.now is None or view.now.epoch < order.epoch:
        return OrderRefusal.NO_FLEET_TIME, f"no fleet time of epoch {order.epoch} yet"
    if order.start_by.is_past(view.now):
        late = view.now.ms - order.start_by.ms if view.now.epoch == order.start_by.epoch else None
        return OrderRefusal.TOO_LATE, "start-by is past" + (f" by {late} ms" if late is not None else "")
    if view.draining:
        return OrderRefusal.DRAINING, "this node is draining"
    if _waits(order, view) and not view.may_hold:
        return OrderRefusal.NO_SLOT, "every slot is taken, and it holds as many orders as it may"
    if not view.disk_ok:
        return OrderRefusal.DISK_FULL, "less free disk than this node keeps in reserve"
    return None


def _waits(order: Order, view: AcceptView) -> bool:
    """Whether it has to wait for a slot. One that goes ahead stands in the line of those that are held."""
    return order.ahead or view.free_slots < 1


def _not_here(order: Order, view: AcceptView) -> Why:
    ready = view.runtimes if order.endpoint is None else view.runtimes | view.unlogged
    if order.runtime not in ready:
        return OrderRefusal.RUNTIME_MISSING, f"runtime {order.runtime} is not ready on this node"
    beyond = view.ceiling.forbids(order)
    return None if beyond is None else (OrderRefusal.CEILING, beyond)
