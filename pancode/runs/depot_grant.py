"""Decides which depot stream a node may open, from the node's signed hello and the ledger, never from Redis.
Also records why a run waits to deliver its result."""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Hello, Verb
from node_agent.wire.signing import WireRefusal, open_as, parse_envelope, parse_message
from pancode.kernel.records import Lease, LeaseState, Node, Run, RunState, WaitReason
from pancode.runs import keyring
from pancode.runs.core import Core
from pancode.runs.life.binding import Waits
from pancode.runs.unit_of_work import unit_of_work


@dataclass(frozen=True, slots=True)
class StreamGrant:
    """Permission to open one stream, for one lease and one verb. `repo`: empty without a git workspace."""

    verb: Verb
    identity: AttemptId
    repo: str


@dataclass(frozen=True, slots=True)
class StreamDenial:
    """Refusal of a stream; `why` is sent to the node."""

    why: str


def authorize(core: Core, line: bytes, nonce: str) -> StreamGrant | StreamDenial:
    """Decide on the hello message of one stream. Never raises an error, whatever the sender wrote."""
    try:
        envelope = parse_envelope(line)
        claimed = parse_message(Hello, envelope.body())
    except WireRefusal as refusal:
        return StreamDenial(f"hello refused: {refusal}")
    with core.ports.ledger.transaction() as tx:
        node = next((n for n in tx.find(Node, {"tag": claimed.node}) if n.removed != "removed"), None)
        if node is None:
            return StreamDenial("no such node is enrolled")
        try:
            hello = open_as(Hello, envelope, keyring.keys_of(node))
        except WireRefusal as refusal:
            return StreamDenial(f"hello refused: {refusal}")
        if hello.fleet != core.fleet or hello.nonce != nonce:
            return StreamDenial("the hello is for another stream")
        run = tx.get(Run, hello.identity.run)
        lease = tx.get(Lease, hello.identity.run, hello.identity.lease)
        if run is None or lease is None or lease.tag != node.tag or lease.attempt != hello.identity.attempt:
            return StreamDenial(f"{hello.identity} is not an attempt of this node")
        # A lease may read until it ends and deliver until the receipt, so a lost lease may still deliver.
        if lease.receipt is not None:
            return StreamDenial(f"{hello.identity} has been settled")
        git = run.workspace.get("kind") == "git"
        if hello.verb in ("fetch", "push") and not git:
            return StreamDenial(f"{hello.identity} has no git workspace")
        if hello.verb == "fetch" and lease.state is LeaseState.CLOSED:
            return StreamDenial(f"{hello.identity} is closed")
        return StreamGrant(hello.verb, hello.identity, str(run.workspace.get("repo")) if git else "")


def note_wait(core: Core, run_id: str, why: str) -> None:
    """Record, once, why a run's result cannot be accepted now; the reason remains until the next event."""
    with core.lock, unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        if run is not None and run.state is not RunState.ENDED:
            work.signal(run, Waits("depot", why, WaitReason.DEPOT))
