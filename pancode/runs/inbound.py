"""Reads the messages of nodes: nothing is believed before its signature was verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from node_agent.wire.event import Events
from node_agent.wire.node import Inventory
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import (
    Envelope,
    PublicKey,
    RefusalCode,
    WireRefusal,
    open_as,
    parse_envelope,
)
from pancode.control import keyring
from pancode.control.core import Core
from pancode.control.work import Work, unit_of_work
from pancode.core.ports import UpMessage
from pancode.core.quota import Flood, is_full
from pancode.core.records import Fence, Node
from pancode.errors import ConflictError
from pancode.fleet.heartbeats import raise_alarm
from pancode.life.decide import decide
from pancode.life.signals import NodeReported
from pancode.runs import journals
from pancode.runs.settle import Letter, Proofs, Unreadable, identity_in, settle, turn_down

NodeMessage = Events | Inventory | Letter | Unreadable
_UNFIT = (ValueError, KeyError, ArithmeticError, ConflictError)


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message whose signature holds, and its node."""

    node: Node
    content: NodeMessage


def take_in(core: Core, limit: int) -> int:
    """Read what nodes wrote, apply it durably, then drop it. Returns how many messages there were."""
    nodes = core.enrolled()
    received = core.ports.bus.read_up(list(nodes), limit, 0)
    messages = [message for up in received if (message := _believed(core, nodes[up.tag], up)) is not None]
    for alone, group in groupby(messages, lambda message: isinstance(message.content, Inventory)):
        take = _each if alone else _together
        take(core, list(group))
    if received:
        core.ports.bus.drop_up(received)
    _note_floods(core, received)
    return len(received)


def _note_floods(core: Core, received: Sequence[UpMessage]) -> None:
    sizes: dict[str, list[int]] = {}
    for message in received:
        sizes.setdefault(message.tag, []).append(len(message.data))
    boot, floods = core.ports.clock.boot_ms(), core.live.floods
    for tag in (tag for tag, sent in sizes.items() if is_full(len(sent), sum(sent))):
        floods[tag] = floods.get(tag, Flood(boot, boot)).goes_on(boot)


def _believed(core: Core, node: Node, message: UpMessage) -> SignedMessage | None:
    """None for what is not: it is dropped and put on record."""
    try:
        return SignedMessage(node, _opened(core, parse_envelope(message.data), node))
    except WireRefusal as refusal:
        raise_alarm(core, node, "message", refusal.code, refusal.detail)
    except _UNFIT as exc:
        raise_alarm(core, node, "message", type(exc).__name__, str(exc))
    return None


def _opened(core: Core, envelope: Envelope, node: Node) -> NodeMessage:
    keys = keyring.keys_of(node)
    if envelope.payloadType == Events.payload_type():
        return open_as(Events, envelope, keys)
    if envelope.payloadType == Inventory.payload_type():
        return open_as(Inventory, envelope, keys)
    try:
        claims = open_as(Receipt, envelope, keys).predicate
    except WireRefusal as refusal:
        about = identity_in(envelope) if refusal.code is RefusalCode.INVALID_FIELD else None
        if about is None:
            raise
        raise_alarm(core, node, "message", refusal.code, refusal.detail)
        return Unreadable(node, envelope.digest(), about, refusal.detail)
    return Letter(node, only_signature_of(envelope, keys), envelope.digest(), claims)


def _together(core: Core, messages: Sequence[SignedMessage]) -> None:
    """Events and receipts in one commit; when one of them cannot be applied, each by itself."""
    try:
        proofs = Proofs.of(
            core, [message.content for message in messages if isinstance(message.content, Letter)]
        )
        with unit_of_work(core) as work:
            for message in messages:
                _apply(work, message, proofs)
            if proofs.kept:  # on disk before the commit that says so
                core.ports.archive.store(proofs.kept)
    except _UNFIT:
        if len(messages) == 1:
            raise
        _each(core, messages)


def _each(core: Core, messages: Sequence[SignedMessage]) -> None:
    """A message that cannot be applied is recorded and dropped: it must not hold up all others."""
    for message in messages:
        try:
            if isinstance(message.content, Inventory):
                journals.take(core, message.node, message.content)
            else:
                _together(core, [message])
        except _UNFIT as exc:
            raise_alarm(core, message.node, "message", type(exc).__name__, str(exc))


def _apply(work: Work, message: SignedMessage, proofs: Proofs) -> None:
    match message.content:
        case Events():
            _events(work, message.node, message.content)
        case Letter():
            settle(work, message.content, proofs)
        case Unreadable():
            turn_down(work, message.content)


def only_signature_of(envelope: Envelope, keys: Mapping[str, PublicKey]) -> Envelope:
    """The envelope with the node's own signature, once: what we archive carries no stranger's mark.

    It is one whose signature by one of `keys` holds.
    """
    own = next(s for s in envelope.signatures if s.keyid in keys)
    return envelope if envelope.signatures == (own,) else envelope.model_copy(update={"signatures": (own,)})


def _events(work: Work, node: Node, batch: Events) -> None:
    if batch.fleet != work.core.fleet or batch.node != node.tag:
        return
    for identity, events in groupby(batch.events, lambda event: event.identity):
        case = work.case_of(identity)
        if case is None:
            continue
        if not _is_its_own(node, case.fence):
            _alarm(work, node, case.fence)
            continue
        signals = (NodeReported(event.seq, event.body, event.wall_ms) for event in events)
        work.apply(decide(case, *signals))


def _alarm(work: Work, node: Node, fence: Fence) -> None:
    """Another node's; a node with a new key may still have messages of what its old key had."""
    if fence.node != node.name and work.first(f"{node.name}:events:foreign"):
        why = f"{fence.run} fence {fence.fence} was ordered from {fence.node}"
        work.audit("trust", "error", "foreign events dropped", node=node.name, why=why)


def _is_its_own(node: Node, fence: Fence) -> bool:
    """A node is believed about the fences that are bound to it, and about no other's."""
    return fence.tag == node.tag
