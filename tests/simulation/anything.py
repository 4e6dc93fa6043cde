"""A node that says, rightly signed and of its own jobs, any value that the wire takes."""

from __future__ import annotations

import json
from typing import Any

from node_agent.wire.event import Events
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.node import Heartbeat
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import MAX_ENVELOPE_BYTES, Signed, parse_envelope, parse_message
from pancode.kernel.records import Lease
from tests.simulation.coordinator import FLEET
from tests.simulation.machines import Machine
from tests.simulation.onlooker import every_look_is_answered
from tests.simulation.world import SimWorld
from tests.unit.pancode.interfaces.http.lies import SAID, events, receipt, word


def any_value(w: SimWorld, machine: Machine, own: list[Lease]) -> None:
    """It may spoil its own work. Whoever looks is answered all the same."""
    kind, seed = w.random.choice(SAID), w.random.randrange(2**32)
    told = _told(w, machine, kind, seed, [lease for lease in own if lease.closed is None])
    if told is None or w.redis.down:
        return
    w.say(f"{machine.name} says any {kind.__name__}, of seed {seed}")
    data = machine.key.sign(kind.payload_type(), json.dumps(told).encode()).model_dump_json().encode()
    if len(data) > MAX_ENVELOPE_BYTES:
        return
    if kind is Heartbeat:
        w.redis.store.heartbeats[machine.tag] = data
        w.channel.lies.add(data)
    else:
        w.channel.inject(w.redis, "up", machine.tag, data)
    w.after_this_step.append(lambda: every_look_is_answered(w, list(w.runs[-2:]), machine.name))


def _told(w: SimWorld, machine: Machine, kind: type[Signed], seed: int, own: list[Lease]) -> Any:
    """None where it has nothing to lie of."""
    heard, core = w.channel.heartbeats.get(machine.tag), w.coordinator.core
    if not heard or core is None:
        return None
    ours = parse_message(Heartbeat, parse_envelope(heard[-1]).body()).model_dump(mode="json")
    names = ("fleet", "node", "epoch_seen", "session", "nonce", "echo", "control_seen")
    ours = {name: ours[name] for name in names} | {"seq": ours["seq"] + 1}
    if kind not in (Receipt, Events):
        w.truth.lied_of |= {lease.run for lease in own}
        return word(kind, seed, {**ours, "at": core.now().model_dump()})
    if not own:
        return None
    lease = w.random.choice(own)
    w.truth.lied_of.add(lease.run)
    if kind is Receipt:
        return receipt(seed, _ordered(machine, lease))
    identity = AttemptId(run=lease.run, attempt=lease.attempt, lease=lease.lease)
    return events(seed, ours, identity, lease.cursor)


def _ordered(machine: Machine, lease: Lease) -> dict[str, Any]:
    """As the job says, and that its agent failed: nothing that would be rejected for that alone."""
    job = parse_message(Job, parse_envelope(lease.job).body())
    said = job.model_dump(mode="json", include={"epoch", "identity", "runtime", "mode", "safety"})
    due: dict[str, Any] = {
        "fleet": FLEET,
        "node": machine.tag,
        "node_name": machine.name,
        "order": lease.digest,
    }
    due |= {"agent": job.agent.name, "base": job.workspace.base, "snapshot": job.workspace.snapshot}
    due |= {"outcome": "error", "failure": "agent_failed", "change": "none", "commit": None}
    return {**said, **due, "gates": [], "blobs": []}
