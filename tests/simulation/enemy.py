"""Who means harm: somebody who can write to Redis, and a node that lies with its own key."""

from __future__ import annotations

import base64
from typing import Any

from node_agent.wire.control import CoordinatorHeartbeat
from node_agent.wire.event import Event, Events, Finding, Marked, Refused
from node_agent.wire.failure import JobRefusal
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Heartbeat
from node_agent.wire.receipt import Receipt, receipt_of
from node_agent.wire.signing import Envelope, Signed, SigningKey, WireRefusal, parse_envelope, parse_message
from pancode.kernel.ports import Offer
from pancode.kernel.records import Lease
from tests.simulation.anything import any_value
from tests.simulation.coordinator import FLEET
from tests.simulation.machines import Machine
from tests.simulation.world import SimWorld

FORGERIES = ("altered", "forged", "rubbish", "forged job")
"""Nothing of it may be believed by anybody: with and without them all goes the same way."""
DENIALS = ("forged heartbeat", "forged heartbeat", "replayed", "foreign job", "old heartbeat", "other fleet")
"""What stands in the place of an honest word, or is one at the wrong time: it delays, no more."""


def enemy(w: SimWorld) -> None:
    """Whatever he does, he may only delay and deny."""
    machine, what = w.machine(), w.random.choice((*FORGERIES, *DENIALS))
    card = w.random.random()
    w.say(f"enemy: {what} at {machine.name}")
    if w.redis.down or (w.quiet_enemy and what in FORGERIES):
        return
    if what in ("altered", "forged", "rubbish", "replayed"):
        if w.channel.seen:
            stream, tag, data = w.channel.seen[int(card * len(w.channel.seen))]
            w.channel.inject(w.redis, stream, tag, spoil(what, data, w.stranger()))
    elif what in ("foreign job", "forged job", "other fleet"):
        _job(w, machine, what, card)
    elif what == "forged heartbeat":
        _beat(w, machine)
    else:
        _heartbeat(w, machine, what, card)


def spoil(what: str, data: bytes, stranger: SigningKey) -> bytes:
    """A message as an enemy would put it back."""
    if what == "replayed":
        return data
    if what == "rubbish":
        return data[: len(data) // 2]
    envelope = parse_envelope(data)
    if what == "forged":
        return stranger.sign(envelope.payloadType, envelope.body()).model_dump_json().encode()
    body = envelope.body().replace(b"done", b"lost").replace(b'"seq":1', b'"seq":2')
    changed = base64.b64encode(body + b" ").decode()
    return envelope.model_copy(update={"payload": changed}).model_dump_json().encode()


def _job(w: SimWorld, machine: Machine, what: str, card: float) -> None:
    """A job that was signed for some lease, some node, some time ago, under a new job id."""
    with w.coordinator.seen() as tx:
        leases = tx.find(Lease)
    if not leases:
        return
    lease = leases[int(card * len(leases))]
    identity = AttemptId(run=lease.run, attempt=lease.attempt, lease=lease.lease + 500)
    envelope = parse_envelope(lease.job)
    job = parse_message(Job, envelope.body()).model_copy(update={"node": machine.tag, "identity": identity})
    text = lease.job
    if what == "forged job":
        text = job.signed(w.stranger()).model_dump_json()
    elif what == "other fleet":
        text = job.model_copy(update={"fleet": "f-neighbours"}).signed(w.coordinator.key).model_dump_json()
    w.redis.bus().push_jobs([Offer(machine.tag, identity, text)])


def _beat(w: SimWorld, machine: Machine) -> None:
    now = FleetTime(epoch=90_000, ms=1)
    heartbeat = CoordinatorHeartbeat(
        fleet=FLEET, node=machine.tag, seq=90_000, time=now, cursors={}, control_floor=0
    )
    kept = w.redis.store.coordinator_heartbeats.get(machine.tag)
    w.redis.store.coordinator_heartbeats[machine.tag] = (
        heartbeat.signed(w.stranger()).model_dump_json().encode()
    )
    w.after_this_step.append(lambda: _put_back(w.redis.store.coordinator_heartbeats, machine.tag, kept))


def _heartbeat(w: SimWorld, machine: Machine, what: str, card: float) -> None:
    old, store = w.channel.heartbeats.get(machine.tag), w.redis.store.heartbeats
    if not old:
        return
    kept = store.get(machine.tag)
    data = old[int(card * len(old))]
    if what == "old heartbeat":
        store[machine.tag] = data
        return
    body = parse_message(Heartbeat, parse_envelope(data).body())
    lie = body.model_copy(update={"seq": body.seq + 1_000, "epoch_seen": 70_000, "session": "forged"})
    store[machine.tag] = lie.signed(w.stranger()).model_dump_json().encode()
    w.after_this_step.append(lambda: _put_back(store, machine.tag, kept, lie))


def _put_back(store: dict[str, bytes], tag: str, kept: bytes | None, lie: Heartbeat | None = None) -> None:
    """He denies for a moment only, so that the twin without him goes the same way."""
    del lie
    if kept is not None:
        store[tag] = kept


def withhold(w: SimWorld) -> None:
    """The newest heartbeat of a node is kept back and shown when the node has long been silent."""
    machine, store = w.machine(), w.redis.store.heartbeats
    w.say(f"enemy: withholds a heartbeat of {machine.name}")
    before = store.get(machine.tag)
    w.pass_time(5_000)
    machine.tick()
    kept = store.get(machine.tag)
    if before is None or kept is None or kept == before:
        return
    store[machine.tag] = before
    machine.cut(True)
    for _ in range(6):
        w.step(5_000)
    w.redis.store.heartbeats[machine.tag] = kept
    for _ in range(3):
        w.step(1_000)


# -- a node that lies ----------------------------------------------------------------------------

LIES = (
    "marks",
    "epoch",
    "numbers",
    "foreign event",
    "foreign receipt",
    "false receipt",
    "second receipt",
    "late number",
    "findings",
    "any value",
    "any value",
)


def hostile(w: SimWorld) -> None:
    """Rightly signed and wrong. It may spoil its own work, never another's, nor the coordinator."""
    machine, what = w.machine(), w.random.choice(LIES)
    w.say(f"{machine.name} lies: {what}")
    with w.coordinator.seen() as tx:
        leases = tx.find(Lease)
    own = [f for f in leases if f.tag == machine.tag]
    others = [f for f in leases if f.tag != machine.tag]
    if what in ("epoch", "numbers"):
        _false_heartbeat(w, machine, what)
    elif what in ("foreign receipt", "false receipt", "second receipt"):
        _false_receipt(w, machine, what, own)
    elif what == "any value":
        any_value(w, machine, own)
    elif what == "foreign event" and others:
        lease = w.random.choice(others)
        body: Any = w.random.choice((Refused(why=JobRefusal.NO_SLOT, detail="lie"), Marked(mark=Mark.EXITED)))
        _event(w, machine, lease, lease.cursor + 1, body)
    elif own:
        lease = w.random.choice(own)
        mark: Any = Marked(mark=w.random.choice((Mark.REFUSED, Mark.REJECTED)))
        body = mark if what == "marks" else Finding(level="error", text="x")
        _event(w, machine, lease, lease.cursor + (900 if what == "late number" else 1), body)


def _send(w: SimWorld, machine: Machine, message: Signed) -> None:
    if not w.redis.down:
        data = message.signed(machine.key).model_dump_json().encode()
        w.channel.inject(w.redis, "up", machine.tag, data)


def _event(w: SimWorld, machine: Machine, lease: Lease, seq: int, body: Any) -> None:
    identity = AttemptId(run=lease.run, attempt=lease.attempt, lease=lease.lease)
    wall = machine.clock.wall_ms()
    event = Event(identity=identity, seq=seq, wall_ms=wall, body=body)
    _send(w, machine, Events(fleet=FLEET, node=machine.tag, events=(event,)))


def _false_heartbeat(w: SimWorld, machine: Machine, what: str) -> None:
    old = w.channel.heartbeats.get(machine.tag)
    if not old or w.redis.down:
        return
    body = parse_message(Heartbeat, parse_envelope(old[-1]).body())
    big = body.epoch_seen + w.random.choice((3, 100)) if what == "epoch" else body.epoch_seen
    seen = body.control_seen + 50 if what == "numbers" else body.control_seen
    lie = body.model_copy(update={"seq": body.seq + 1, "epoch_seen": big, "control_seen": seen})
    w.redis.store.heartbeats[machine.tag] = lie.signed(machine.key).model_dump_json().encode()


def _false_receipt(w: SimWorld, machine: Machine, what: str, own: list[Lease]) -> None:
    """Another's under this key; or one for its own job, open or over, that says what was never ordered."""
    told = [r for r in (_receipt(d) for s, t, d in w.channel.seen if s == "up") if r is not None]
    leases = [f for f in own if (f.closed is None) is (what == "false receipt")]
    if not told or (what != "foreign receipt" and not leases):
        return
    receipt = w.random.choice(told)
    changes: dict[str, Any] = {"node": w.random.choice((machine.tag, receipt.predicate.node))}
    if what != "foreign receipt":
        lease = w.random.choice(leases)
        who = AttemptId(run=lease.run, attempt=lease.attempt, lease=lease.lease)
        changes = {"identity": who, "order": lease.digest, "node": machine.tag, "runtime": "other"}
        changes |= {"node_name": machine.name}
        changes |= {"commit": None, "blobs": (), "change": "none", "snapshot": _snapshot(lease)}
    claims = receipt.predicate.model_copy(update=changes)
    _send(w, machine, receipt_of(claims))


def _snapshot(lease: Lease) -> str | None:
    return parse_message(Job, parse_envelope(lease.job).body()).workspace.snapshot


def _receipt(data: bytes) -> Receipt | None:
    try:
        envelope: Envelope = parse_envelope(data)
        return parse_message(Receipt, envelope.body()) if "in-toto" in envelope.payloadType else None
    except WireRefusal:
        return None
