"""Reads the messages and journals of nodes; none is used before its signature is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from node_agent.wire.event import BudgetAsked, Events
from node_agent.wire.identity import FINAL, Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.node import AttemptsReport, Inventory, JournalEntry
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import Envelope, RefusalCode, WireRefusal, open_as, parse_envelope
from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel.errors import ConflictError
from pancode.kernel.ports import UpMessage
from pancode.kernel.quota import Flood, is_full
from pancode.kernel.records import Lease, LeaseState, Node, Run, RunState, StoredReceipt
from pancode.runs import keyring
from pancode.runs.core import Core, open_leases
from pancode.runs.life.changes import decide
from pancode.runs.life.ends import Lost
from pancode.runs.life.jobs import identity_of, start_by_of
from pancode.runs.life.node_events import Doubted, NodeReported, NotTaken, UnknownLease
from pancode.runs.nodes.heartbeats import raise_alarm
from pancode.runs.receipts.settlement import (
    Letter,
    Proofs,
    Unreadable,
    identity_in,
    only_signature_of,
    settle_receipt,
    turn_down,
)
from pancode.runs.restored.attempts import accept_report
from pancode.runs.restored.hold import list_held
from pancode.runs.restored.requests import can_report, note_unknown
from pancode.runs.unit_of_work import Work, unit_of_work

_ANSWERED = (Mark.ACKNOWLEDGED, Mark.REJECTED)
LEASES_AHEAD = 100_000
"""How far above the newest lease an event's lease number may be. A higher number was never signed, and would
use up the run's lease numbers."""
_FORGOTTEN = "the node's journal no longer has this attempt"


def accept_journal(core: Core, node: Node, inventory: Inventory) -> None:
    """Process a node's whole journal: release jobs that the node never took, and allow new ones."""
    if inventory.fleet != core.fleet or inventory.node != node.tag or inventory.at.epoch != core.epoch:
        return
    named = {str(entry.identity): entry for entry in inventory.entries}
    strays: dict[str, int] = {}
    with unit_of_work(core) as work:
        for lease in open_leases(work.tx, node=node.name):
            if lease.tag == node.tag:
                _compare(work, lease, named.get(str(identity_of(lease))), inventory.at)
        for entry in inventory.entries:
            _note_stray(work, node, entry, strays)
    last = core.live.journals.inventories.get(inventory.node)
    if last is None or not inventory.at.is_past(last[0]):
        core.live.journals.inventories[inventory.node] = (inventory.at, inventory.nonce)
        for found in core.live.journals.strays.values():
            found.pop(inventory.node, None)
        for run, number in strays.items():
            core.live.journals.strays.setdefault(run, {})[inventory.node] = number


def _compare(work: Work, lease: Lease, entry: JournalEntry | None, at: FleetTime) -> None:
    """Compare one open lease with its entry in the journal."""
    if entry is not None and _knows_lease(entry, lease):
        work.after(partial(work.core.live.journals.doubted.pop, str(identity_of(lease)), None))
    elif not start_by_of(lease).is_past(at):
        return
    elif lease.state is LeaseState.OFFERED and (entry is None or not _has_accepted(entry, lease)):
        work.signal_lease(lease, NotTaken())
    else:
        _doubt_attempt(work, lease)


def _has_accepted(entry: JournalEntry, lease: Lease) -> bool:
    return entry.job == lease.digest and entry.mark is not Mark.REFUSED


def _knows_lease(entry: JournalEntry, lease: Lease) -> bool:
    """Whether the journal accounts for the lease. A refusal under a used event number does not count: either
    a new journal was begun on an empty disk and the repeated job was refused, or the journal is false."""
    if entry.job != lease.digest or entry.mark in _ANSWERED:
        return False
    return entry.mark is not Mark.REFUSED or entry.last_event > lease.cursor


def _doubt_attempt(work: Work, lease: Lease) -> None:
    """Mark an attempt as doubted: the node accepted it, but its journal lacks it or has it as answered, so a
    disk or a ledger was lost. If the journal says so for the whole deadline, the attempt is lost."""
    core, key = work.core, str(identity_of(lease))
    node = work.tx.get(Node, lease.node)
    if node is not None and can_report(core, lease.tag):
        note_unknown(work, node)
    since = core.live.journals.doubted.get(key, core.ports.clock.boot_ms())
    if core.awake_ms_since(since) < core.rules.deadlines.lost_ms:
        work.after(partial(core.live.journals.doubted.__setitem__, key, since))
        work.signal_lease(lease, Doubted(_FORGOTTEN))
    else:
        work.after(partial(core.live.journals.doubted.pop, key, None))
        work.signal_lease(lease, Lost(_FORGOTTEN))


def _note_stray(work: Work, node: Node, entry: JournalEntry, strays: dict[str, int]) -> None:
    """Record an attempt that this ledger lacks although it has the run, as the ledger was restored."""
    core, number = work.core, entry.identity.lease
    run = work.tx.get(Run, entry.identity.run)
    lease = work.tx.get(Lease, entry.identity.run, number)
    if lease is not None and lease.digest == entry.job:
        return
    if run is not None and number > core.highest_lease(run) + LEASES_AHEAD:
        raise ValueError(f"{entry.identity}: the newest lease of that run is {run.lease}")
    stored = work.tx.find(StoredReceipt, {"run": entry.identity.run}) if lease is None else []
    if lease is None and entry.mark is not Mark.REFUSED and number not in [one.lease for one in stored]:
        note_unknown(work, node)
    if run is None or run.id in list_held(work.tx):
        return  # Nothing of this run begins. The node is asked for its jobs, and they continue.
    floors = core.live.journals.floors
    work.after(lambda: floors.__setitem__(run.id, max(number, floors.get(run.id, 0))))
    if entry.mark in FINAL or run.state is RunState.ENDED:
        return
    strays[run.id] = max(number, strays.get(run.id, 0))
    if core.live.journals.strays.get(run.id, {}).get(node.tag or "", 0) < number:
        work.signal(run, UnknownLease(node.name, number))


NodeMessage = Events | Inventory | AttemptsReport | Letter | Unreadable
_UNFIT = (ValueError, KeyError, ArithmeticError, ConflictError)


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message with a valid signature, and the node that signed it."""

    node: Node
    content: NodeMessage


def take_in(core: Core, limit: int) -> int:
    """Read messages of nodes, apply them durably, then remove them; return the number of messages."""
    nodes = core.enrolled()
    received = core.ports.bus.read_up(list(nodes), limit, 0)
    messages = [
        message for up in received if (message := _verify_message(core, nodes[up.tag], up)) is not None
    ]
    for alone, group in groupby(messages, lambda one: isinstance(one.content, Inventory | AttemptsReport)):
        take = _apply_each if alone else _apply_together
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


def _verify_message(core: Core, node: Node, message: UpMessage) -> SignedMessage | None:
    """Return the message if its signature is valid; else record it in the audit and return None."""
    try:
        return SignedMessage(node, _open_message(core, parse_envelope(message.data), node))
    except WireRefusal as refusal:
        raise_alarm(core, node, "message", refusal.code, refusal.detail)
    except _UNFIT as exc:
        raise_alarm(core, node, "message", type(exc).__name__, str(exc))
    return None


def _open_message(core: Core, envelope: Envelope, node: Node) -> NodeMessage:
    keys = keyring.keys_of(node)
    if envelope.payloadType == Events.payload_type():
        return open_as(Events, envelope, keys)
    if envelope.payloadType == Inventory.payload_type():
        return open_as(Inventory, envelope, keys)
    if envelope.payloadType == AttemptsReport.payload_type():
        return open_as(AttemptsReport, envelope, keys)
    try:
        claims = open_as(Receipt, envelope, keys).predicate
    except WireRefusal as refusal:
        about = identity_in(envelope) if refusal.code is RefusalCode.INVALID_FIELD else None
        if about is None:
            raise
        raise_alarm(core, node, "message", refusal.code, refusal.detail)
        return Unreadable(node, envelope.digest(), about, refusal.detail)
    return Letter(node, only_signature_of(envelope, keys), envelope.digest(), claims)


def _apply_together(core: Core, messages: Sequence[SignedMessage]) -> None:
    """Apply events and receipts in one commit; if one of them cannot be applied, apply each separately."""
    try:
        proofs = Proofs.of(
            core, [message.content for message in messages if isinstance(message.content, Letter)]
        )
        with unit_of_work(core) as work:
            for message in messages:
                match message.content:
                    case Events():
                        _apply_events(work, message.node, message.content)
                    case Letter():
                        settle_receipt(work, message.content, proofs)
                    case Unreadable():
                        turn_down(work, message.content)
            if proofs.kept:  # Receipts are archived before the commit that refers to them.
                core.ports.archive.store(proofs.kept)
    except _UNFIT:
        if len(messages) == 1:
            raise
        _apply_each(core, messages)


def _apply_each(core: Core, messages: Sequence[SignedMessage]) -> None:
    """Apply each message separately. A message that cannot be applied is recorded and dropped, so that it
    does not block others."""
    for message in messages:
        try:
            if isinstance(message.content, Inventory):
                accept_journal(core, message.node, message.content)
            elif isinstance(message.content, AttemptsReport):
                accept_report(core, message.node, message.content)
            else:
                _apply_together(core, [message])
        except _UNFIT as exc:
            raise_alarm(core, message.node, "message", type(exc).__name__, str(exc))


def _apply_events(work: Work, node: Node, batch: Events) -> None:
    if batch.fleet != work.core.fleet or batch.node != node.tag:
        return
    for identity, events in groupby(batch.events, lambda event: event.identity):
        case = work.case_of(identity)
        if case is None:
            continue
        if not _is_its_own(node, case.lease):
            # Another node's lease; but a node with a new key may still send messages on its old key's leases.
            lease = case.lease
            if lease.node != node.name and work.first(f"{node.name}:events:foreign"):
                why = f"{lease.run} lease {lease.lease} belongs to {lease.node}"
                work.audit(
                    "trust", "error", "dropped events about another node's lease", node=node.name, why=why
                )
            continue
        told, scopes = list(events), list[BudgetScope]()
        if any(isinstance(event.body, BudgetAsked) for event in told):
            reserved = books.find_reserved(case.entries, case.attempt.attempt)
            scopes = [*work.core.read_scopes(work.tx, reserved), *work.core.period_budget_scopes(work.tx)]
        work.apply(decide(case, *(NodeReported(one.seq, one.body, one.wall_ms, scopes) for one in told)))


def _is_its_own(node: Node, lease: Lease) -> bool:
    """Whether the lease belongs to this node; a node's messages about other leases are not accepted."""
    return lease.tag == node.tag
