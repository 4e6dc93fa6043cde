"""What nodes say: nothing is believed before it was verified against the key enrolled for its node."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.event import Event
from node_agent.wire.heartbeat import Heartbeat
from node_agent.wire.identity import AttemptId
from node_agent.wire.inventory import Inventory
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import Envelope, WireRefusal, open_as, parse_envelope
from pancode.control.core import Core, open_fences
from pancode.control.settle import free_holds, settle
from pancode.domain.fleet import Heard
from pancode.domain.lifecycle import Moved, Trio, apply_event, never_accepted
from pancode.domain.orders import identity_of, start_by_of
from pancode.domain.records import Attempt, Fence, FenceState, Node, Run
from pancode.ports import Transaction, UpMessage


def take_in(core: Core, limit: int) -> int:
    """Read what nodes wrote, apply it durably, then drop it. Returns how many messages there were."""
    nodes = _enrolled(core)
    messages = core.ports.bus.read_up(list(nodes), limit, 0)
    for message in messages:
        _one(core, nodes[message.tag], message)
    if messages:
        core.ports.bus.drop_up(messages)
    return len(messages)


def hear(core: Core) -> None:
    """Look at every node's newest heartbeat."""
    for tag, node in _enrolled(core).items():
        data = core.ports.bus.heartbeat(tag)
        if data is not None and core.live.raw.get(tag) != data:
            core.live.raw[tag] = data
            try:
                beat = open_as(Heartbeat, parse_envelope(data), core.keys_of(node))
            except WireRefusal as refusal:
                _raise_alarm(core, node, "heartbeat", refusal)
                continue
            _heartbeat(core, node, beat)


def _enrolled(core: Core) -> dict[str, Node]:
    with core.ports.ledger.transaction() as tx:
        return {n.tag: n for n in tx.find(Node) if n.tag is not None and n.removed != "removed"}


def _heartbeat(core: Core, node: Node, beat: Heartbeat) -> None:
    """A believed heartbeat: newer than the last one of the same node, of this fleet."""
    if beat.fleet != core.fleet or beat.node != node.tag:
        return
    last = core.live.heard.get(beat.node)
    if last is not None and not _newer(beat, last.heartbeat):
        return
    if last is None or last.heartbeat.nonce != beat.nonce:
        core.live.last_beat_ms = -1  # it waits for its answer: the next beat goes out in this round
    core.live.heard[beat.node] = Heard(beat)
    _catch_up(core, node, beat)


def _newer(beat: Heartbeat, last: Heartbeat) -> bool:
    """By the echo of our own beats first: a node's session that is over cannot echo what we said after it."""
    if beat.session == last.session:
        return beat.seq > last.seq
    if beat.echo is None:
        return last.echo is None or beat.boot_id != last.boot_id or beat.boot_ms > last.boot_ms
    return last.echo is None or not beat.echo.is_past(last.echo)


def _catch_up(core: Core, node: Node, beat: Heartbeat) -> None:
    """A node that has seen more than this ledger knows (it was restored): never reuse epochs or numbers."""
    if beat.epoch_seen < core.epoch + 1 and beat.control_seen <= node.control_seq:
        if beat.epoch_seen > node.epoch_seen:
            with core.ports.ledger.transaction() as tx:
                _remember(tx, node.name, beat)
        return
    with core.ports.ledger.transaction() as tx:
        if beat.epoch_seen > core.epoch:
            core.raise_epoch(beat.epoch_seen, tx)
            core.audit(tx, "fleet", "warning", "epoch raised above what a node has seen", node=node.name)
        _remember(tx, node.name, beat)


def _remember(tx: Transaction, name: str, beat: Heartbeat) -> None:
    node = tx.get(Node, name)
    if node is not None:
        seq = max(node.control_seq, beat.control_seen)
        tx.put(replace(node, epoch_seen=max(node.epoch_seen, beat.epoch_seen), control_seq=seq))


def _one(core: Core, node: Node, message: UpMessage) -> None:
    try:
        envelope = parse_envelope(message.data)
        if envelope.payloadType == Event.payload_type():
            _event(core, node, open_as(Event, envelope, core.keys_of(node)))
        elif envelope.payloadType == Inventory.payload_type():
            _inventory(core, node, open_as(Inventory, envelope, core.keys_of(node)))
        else:
            receipt = open_as(Receipt, envelope, core.keys_of(node))
            settle(core, node, only_signature_of(envelope, node), receipt.predicate)
    except WireRefusal as refusal:
        _raise_alarm(core, node, "message", refusal)


def only_signature_of(envelope: Envelope, node: Node) -> Envelope:
    """The envelope with the node's own signature alone: what we archive carries no stranger's mark."""
    kept = tuple(s for s in envelope.signatures if node.tag is not None and s.keyid.startswith(node.tag))
    return envelope.model_copy(update={"signatures": kept})


def _raise_alarm(core: Core, node: Node, what: str, refusal: WireRefusal) -> None:
    """Dropped, counted, and put on record once for each node and reason until the next start."""
    key = f"{node.name}:{what}:{refusal.code}"
    count = core.live.refusals.get(key, 0) + 1
    core.live.refusals[key] = count
    if count == 1:
        with core.ports.ledger.transaction() as tx:
            core.audit(
                tx, "trust", "error", f"{what} refused", node=node.name, code=refusal.code, why=refusal.detail
            )


def _event(core: Core, node: Node, event: Event) -> None:
    if event.fleet != core.fleet or event.node != node.tag:
        return
    with core.ports.ledger.transaction() as tx:
        trio = load(tx, event.identity)
        if trio is None or trio.fence.tag != node.tag or event.seq != trio.fence.cursor + 1:
            return
        save(core, tx, trio, apply_event(trio, event.seq, event.body, event.wall_ms))


def load(tx: Transaction, identity: AttemptId) -> Trio | None:
    """Run, attempt and fence of an identity, None unless all three are here and agree."""
    run = tx.get(Run, identity.run)
    attempt = tx.get(Attempt, identity.run, identity.attempt)
    fence = tx.get(Fence, identity.run, identity.fence)
    if run is None or attempt is None or fence is None or fence.attempt != identity.attempt:
        return None
    return Trio(run, attempt, fence)


def save(core: Core, tx: Transaction, before: Trio, moved: Moved) -> None:
    """Write what has changed, tell the story, give back what a freed fence held."""
    after = moved.trio
    for old, new in ((before.run, after.run), (before.attempt, after.attempt), (before.fence, after.fence)):
        if new != old:
            tx.put(new)
    if moved.story:
        core.tell(tx, after.run.id, "node", after.fence.node, moved.verdict, moved.story)
    if not moved.free:
        return
    core.live.closed_any = True
    if after.attempt.outcome is not None and before.attempt.outcome is None:
        free_holds(core, tx, after.fence, moved.story, None)
    else:
        pause = core.wall_ms() + core.rules.refused_pause_ms
        free_holds(core, tx, after.fence, moved.story, after.fence.node)
        if after.run.outcome is None and moved.verdict == "refused":
            tx.put(replace(after.run, retry_at_ms=pause))


def _inventory(core: Core, node: Node, inventory: Inventory) -> None:
    """The node's whole journal: frees offers that it never took, and allows new ones."""
    if inventory.fleet != core.fleet or inventory.node != node.tag or inventory.at.epoch != core.epoch:
        return
    named = {str(entry.identity) for entry in inventory.entries}
    with core.ports.ledger.transaction() as tx:
        for fence in open_fences(tx, node=node.name):
            told = str(identity_of(fence)) in named
            if fence.tag == node.tag and not told and start_by_of(fence).is_past(inventory.at):
                _never_taken(core, tx, fence)
    core.live.inventories[inventory.node] = inventory.nonce


def _never_taken(core: Core, tx: Transaction, fence: Fence) -> None:
    trio = load(tx, identity_of(fence))
    if trio is None:
        return
    if fence.state is FenceState.OFFERED:
        save(core, tx, trio, never_accepted(trio, core.wall_ms()))
        return
    # It had accepted, and its journal no longer knows it: its disk was lost or restored. Nobody can say
    # whether it still runs, so only time (lost) or the owner ends it.
    if trio.run.reason != _FORGOTTEN:
        tx.put(replace(trio.run, reason=_FORGOTTEN))
        core.tell(tx, trio.run.id, "node", fence.node, "unknown", _FORGOTTEN)


_FORGOTTEN = "the node's journal no longer knows this attempt"
