"""Decides whether an order may start or be held: signature, time, lease, slots, the owner's ceiling. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from node_agent.attempt.records import JournalRecord, PendingStop
from node_agent.runtimes.others import OtherAgent
from node_agent.wire.endpoint import OTHERS
from node_agent.wire.failure import OrderRefusal
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.model import FleetTime, RepoId, WireModel
from node_agent.wire.node import Allowed
from node_agent.wire.order import Order
from node_agent.wire.policy import NO_RULES, Rules, Safety
from node_agent.wire.signing import PublicKey, WireRefusal, open_as, parse_envelope

LEAST_MEMORY, LEAST_PROCESSES, LEAST_DISK = 64 << 20, 32, 64 << 20
"""The least limits of bytes, processes and bytes with which a shell and its gateway can still work."""


class CeilingFile(WireModel):
    """The owner's file `ceiling.json`. None: no such limit."""

    safety: Annotated[Safety, Field(strict=False)] = Safety.FULL_AUTO
    repositories: tuple[RepoId, ...] | None = None
    runtimes: tuple[str, ...] | None = None
    memory: int | None = Field(default=None, ge=LEAST_MEMORY)
    """Bytes of memory for one run, all its processes together."""
    processes: int | None = Field(default=None, ge=LEAST_PROCESSES)
    """The most processes of one run, threads included."""
    disk: int | None = Field(default=None, ge=LEAST_DISK)
    """Bytes of disk for one run's checkout and home."""
    acp: dict[Annotated[str, Field(pattern=OTHERS)], OtherAgent] = {}
    """Programs that speak ACP, by the owner's names for them: each is a runtime, `acp:NAME`."""


class Ceiling(CeilingFile):
    """All limits of the owner. `closed`: why nothing is allowed. `rules`: from pansafety.yaml beside it."""

    closed: str = ""
    rules: Rules = NO_RULES

    def forbids(self, order: Order) -> str | None:
        """Return the reason why the order goes beyond the ceiling; None when it does not."""
        return self.told().beyond(order.safety, order.runtime, order.workspace.repo) or None

    def told(self) -> Allowed:
        """Return the ceiling as the coordinator gets it, so that it offers nothing that is refused here."""
        return Allowed(
            safety=self.safety, repositories=self.repositories, runtimes=self.runtimes, closed=self.closed
        )


NO_CEILING = Ceiling()


def read_ceiling(path: Path) -> Ceiling:
    """Read the owner's file. No file: no ceiling. A file that cannot be read closes the node to all runs."""
    try:
        parsed = CeilingFile.model_validate_json(path.read_bytes())
        return Ceiling(**dict(parsed))
    except FileNotFoundError:
        return Ceiling()
    except (OSError, ValidationError) as exc:
        first = str(exc).splitlines()[0]
        return Ceiling(closed=f"the owner's file {path} cannot be read: {first}")


def limits_text(allowed: Allowed) -> str:
    """Return the limits of a ceiling in words for users."""
    parts = [f"safety {allowed.safety}"] if allowed.safety is not Safety.FULL_AUTO else []
    for what, names in (("runtimes", allowed.runtimes), ("repositories", allowed.repositories)):
        parts += [f"{what} {', '.join(names) or 'none'}"] if names is not None else []
    return f"its owner allows at most {'; '.join(parts)}"[:500]


@dataclass(frozen=True, slots=True)
class Opened:
    """An order whose signature is good."""

    order: Order
    digest: str
    envelope: str


@dataclass(frozen=True, slots=True)
class Accept:
    """The order is started."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The order is kept, with its snapshot, until a slot is free."""


@dataclass(frozen=True, slots=True)
class AlreadyAccepted:
    """The journal has an order of these very bytes: the answer is its mark, and nothing is started."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Refuse:
    """The order is never started. `identity` None: nobody can tell whose it is, so nothing is reported."""

    why: OrderRefusal
    detail: str
    identity: AttemptId | None


Judgement = Accept | Hold | AlreadyAccepted | Refuse


@dataclass(frozen=True, slots=True)
class AcceptView:
    """The node's facts at the moment when an order is judged."""

    fleet: str
    node: str
    now: FleetTime | None
    epoch_seen: int
    known: JournalRecord | None
    """The journal's entry of the order's identity; None: there is none."""
    top_lease: int
    """The highest lease of this run in the journal; 0 for none."""
    stop: PendingStop | None
    tombstone: PendingStop | None
    draining: bool
    revoked: bool
    free_slots: int
    runtimes: frozenset[str]
    """The runtimes that are ready on this node, or that nobody has looked at yet."""
    unlogged: frozenset[str]
    """The runtimes that lack only a login; a run at an endpoint of this node needs no login."""
    ceiling: Ceiling
    disk_ok: bool = True
    may_hold: bool = True
    """Whether the node holds fewer orders than it may hold."""


def open_order(data: bytes, keys: Mapping[str, PublicKey]) -> Opened | Refuse:
    """Check the order's signature, then every field of it."""
    try:
        envelope = parse_envelope(data)
        order = open_as(Order, envelope, keys)
    except WireRefusal as refusal:
        return Refuse(OrderRefusal.BAD_ENVELOPE, f"{refusal.code}: {refusal.detail}", None)
    return Opened(order, envelope.digest(), envelope.model_dump_json())


def judge_order(opened: Opened, view: AcceptView) -> Judgement:
    """Judge the order by the first rule that applies to it."""
    order = opened.order
    if order.fleet != view.fleet:
        return Refuse(OrderRefusal.WRONG_FLEET, f"for fleet {order.fleet}", None)
    if order.node != view.node:
        return Refuse(OrderRefusal.WRONG_NODE, f"for node {order.node}", None)
    if view.known is not None:
        if view.known.digest == opened.digest:
            return AlreadyAccepted(view.known.mark)
        detail = f"lease {opened.order.identity} was given to another order ({view.known.digest[:10]})"
        return Refuse(OrderRefusal.LEASE_CONFLICT, detail, opened.order.identity)
    why = _never(order, view) or _not_now(order, view) or _not_here(order, view)
    if why is not None:
        return Refuse(why[0], why[1], order.identity)
    return Hold() if _waits(order, view) else Accept()


def judge_held(order: Order, view: AcceptView) -> Accept | Hold | Refuse:
    """Whether a held order begins now. Its start-by, judged when the node took it, no longer counts."""
    if view.revoked or view.draining:
        state = "no longer of the fleet" if view.revoked else "draining"
        return Refuse(OrderRefusal.TAKEN_BACK, f"this node is {state}", order.identity)
    why = _not_here(order, view)
    if why is not None:
        return Refuse(why[0], why[1], order.identity)
    return Accept() if view.free_slots > 0 and view.disk_ok else Hold()


Why = tuple[OrderRefusal, str] | None


def _never(order: Order, view: AcceptView) -> Why:
    """Return the reason to refuse the order that no later moment could change; None without one."""
    lease = order.identity.lease
    if view.revoked:
        return OrderRefusal.REVOKED, "this node is no longer of the fleet"
    if order.epoch < view.epoch_seen:
        return OrderRefusal.OLD_EPOCH, f"epoch {order.epoch} is over, it is {view.epoch_seen} now"
    if view.stop is not None:
        return OrderRefusal.STOPPED, view.stop.reason
    if view.tombstone is not None and lease <= view.tombstone.lease:
        return OrderRefusal.TOMBSTONED, view.tombstone.reason
    if lease < view.top_lease:
        return OrderRefusal.OLD_LEASE, f"lease {lease} came after lease {view.top_lease}"
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
    """Whether the order has to wait for a slot. An order with `ahead` takes its turn among the held ones."""
    return order.ahead or view.free_slots < 1


def _not_here(order: Order, view: AcceptView) -> Why:
    ready = view.runtimes if order.endpoint is None else view.runtimes | view.unlogged
    if order.runtime not in ready:
        return OrderRefusal.RUNTIME_MISSING, f"runtime {order.runtime} is not ready on this node"
    beyond = view.ceiling.forbids(order)
    return None if beyond is None else (OrderRefusal.CEILING, beyond)
