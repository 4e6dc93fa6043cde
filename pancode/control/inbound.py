"""What nodes write: nothing is believed before it was verified against the key enrolled for its node."""

from __future__ import annotations

from itertools import groupby

from node_agent.wire.event import Event, Refused, Revoked
from node_agent.wire.inventory import Inventory
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import Envelope, WireRefusal, open_as, parse_envelope
from pancode.control import journals
from pancode.control.core import Core
from pancode.control.heard import enrolled, raise_alarm
from pancode.control.moved import load, save
from pancode.control.settle import never_ran, settle
from pancode.domain.lifecycle import apply_event
from pancode.domain.records import Closed, Node
from pancode.errors import ConflictError
from pancode.ports import Transaction, UpMessage


def take_in(core: Core, limit: int) -> int:
    """Read what nodes wrote, apply it durably, then drop it. Returns how many messages there were."""
    nodes = enrolled(core)
    messages = core.ports.bus.read_up(list(nodes), limit, 0)
    for alike, group in groupby(messages, _is_event):
        take = _together if alike else _each
        take(core, nodes, list(group))
    if messages:
        core.ports.bus.drop_up(messages)
    return len(messages)


def _is_event(message: UpMessage) -> bool:
    """By its looks; what it is, its signature says."""
    return Event.payload_type().encode() in message.data


def _each(core: Core, nodes: dict[str, Node], messages: list[UpMessage]) -> None:
    for message in messages:
        _one(core, nodes[message.tag], message)


def _together(core: Core, nodes: dict[str, Node], messages: list[UpMessage]) -> None:
    """Events in one commit; when one of them cannot be applied, each by itself."""
    try:
        opened = [(nodes[m.tag], _event_of(core, nodes[m.tag], m)) for m in messages]
        with core.ports.ledger.transaction() as tx:
            for node, event in opened:
                _event(core, tx, node, event)
    except (WireRefusal, ValueError, KeyError, ArithmeticError, ConflictError):
        _each(core, nodes, messages)


def _event_of(core: Core, node: Node, message: UpMessage) -> Event:
    return open_as(Event, parse_envelope(message.data), core.keys_of(node))


def _one(core: Core, node: Node, message: UpMessage) -> None:
    """One message. What cannot be applied is dropped and put on record: it must not hold up all others."""
    try:
        _apply(core, node, message)
    except WireRefusal as refusal:
        raise_alarm(core, node, "message", refusal.code, refusal.detail)
    except (ValueError, KeyError, ArithmeticError, ConflictError) as exc:
        raise_alarm(core, node, "message", type(exc).__name__, str(exc))


def _apply(core: Core, node: Node, message: UpMessage) -> None:
    envelope = parse_envelope(message.data)
    if envelope.payloadType == Event.payload_type():
        event = open_as(Event, envelope, core.keys_of(node))
        with core.ports.ledger.transaction() as tx:
            _event(core, tx, node, event)
    elif envelope.payloadType == Inventory.payload_type():
        journals.take(core, node, open_as(Inventory, envelope, core.keys_of(node)))
    else:
        receipt = open_as(Receipt, envelope, core.keys_of(node))
        settle(core, node, only_signature_of(envelope, node), receipt.predicate)


def only_signature_of(envelope: Envelope, node: Node) -> Envelope:
    """The envelope with the node's own signature alone: what we archive carries no stranger's mark."""
    kept = tuple(s for s in envelope.signatures if node.tag is not None and s.keyid.startswith(node.tag))
    return envelope.model_copy(update={"signatures": kept})


def _event(core: Core, tx: Transaction, node: Node, event: Event) -> None:
    if event.fleet != core.fleet or event.node != node.tag:
        return
    trio = load(tx, event.identity)
    if trio is None or trio.fence.tag != node.tag or event.seq != trio.fence.cursor + 1:
        return
    save(core, tx, trio, apply_event(trio, event.seq, event.body, event.wall_ms))
    if trio.fence.closed is Closed.LOST and isinstance(event.body, Refused | Revoked):
        never_ran(core, tx, trio.fence, node.name)
