"""Reads heartbeats: which nodes send them, in which epoch, and whether one knows more than this ledger."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from node_agent.wire.control import Acknowledge, Control, ControlBody, Drain, SetSlots
from node_agent.wire.node import FORGED, MOST_HEARTBEAT_BYTES, Heartbeat, LoggedIn
from node_agent.wire.packing import read_text
from node_agent.wire.signing import WireRefusal, open_as, parse_envelope, parse_message
from pancode.kernel.node import LastHeartbeat, NodeState, quote_advice
from pancode.kernel.records import ControlMessage, Node
from pancode.kernel.row_updates import edit_row, take_controls
from pancode.runs import keyring
from pancode.runs.core import Core
from pancode.runs.life.jobs import NUMBERS_IN_AN_EPOCH
from pancode.runs.nodes.evidence import shut_out
from pancode.runs.restored.hold import begin_hold
from pancode.runs.unit_of_work import Work, fall_behind, list_tombstones, unit_of_work

TWINS = "two nodes answer with its key at the same time: one is a copy of the other, or was restored"
MOST_SESSIONS = 16
"""How many of a node's latest sessions are remembered; a node may begin any number of them."""


def detect_shared_key(core: Core, node: Node, heartbeat: Heartbeat) -> bool:
    """Quarantine the node if this heartbeat proves that two nodes use one key; return whether it does.

    Each start of a node agent begins a new session, and two sessions of one installation never run at once.
    Proof: each of two sessions has echoed a heartbeat sent to it after the other one was heard. No delayed or
    repeated old message can do that.
    """
    if not _is_proof(core, heartbeat):
        return False
    # After its release from quarantine, a node is judged only by new heartbeats.
    core.live.contacts.sessions.pop(heartbeat.node)
    with unit_of_work(core) as work:
        known = work.tx.get(Node, node.name)
        if known is not None and known.quarantined is None:
            shut_out(work, known, TWINS)
    return True


def _is_proof(core: Core, heartbeat: Heartbeat) -> bool:
    echo, sessions = heartbeat.echo, core.live.contacts.sessions.setdefault(heartbeat.node, {})
    if echo is None or echo.epoch != core.epoch or echo.ms not in core.live.heartbeats.sent:
        return False
    since = sessions.get(heartbeat.session)
    if since is not None:
        return any(other > since and echo.ms > other for other in sessions.values())
    if all(echo.ms > other for other in sessions.values()):
        sessions[heartbeat.session] = core.ports.clock.boot_ms()
        while len(sessions) > MOST_SESSIONS:
            sessions.pop(next(iter(sessions)))
    return False


EPOCHS_AHEAD = 10_000
"""How far an epoch that a node reports may exceed the current one, or the largest that can exist by now."""
MOST_RAISES = 5
"""How often one node may cause a rise of the epoch, which cancels the jobs offered to all other nodes."""


def read_heartbeats(core: Core) -> None:
    """Process every node's newest heartbeat."""
    nodes = core.enrolled()
    for tag, data in core.ports.bus.heartbeats(list(nodes)).items():
        node = nodes[tag]
        if core.live.contacts.raw.get(tag) != data:
            core.live.contacts.raw[tag] = data
            try:
                text = read_text(data, MOST_HEARTBEAT_BYTES)
                heartbeat = open_as(Heartbeat, parse_envelope(text), keyring.keys_of(node))
            except WireRefusal as refusal:
                raise_alarm(core, node, "heartbeat", refusal.code, refusal.detail)
                continue
            try:
                whole = core.live.contacts.complete_heartbeat(heartbeat, core.ports.bus.read_profile)
                _take_heartbeat(core, node, whole)
            # An error with one node must not block other nodes.
            except (ValueError, KeyError, ArithmeticError) as exc:
                raise_alarm(core, node, "heartbeat", type(exc).__name__, str(exc))


def raise_alarm(core: Core, node: Node, what: str, code: str, why: str) -> None:
    """Count a dropped message; record it in the audit once for each node and reason until the next start."""
    key = f"{node.name}:{what}:{code}"
    count = core.live.tally.refusals.get(key, 0) + 1
    core.live.tally.refusals[key] = count
    if count == 1:
        with unit_of_work(core) as work:
            work.audit("trust", "error", f"{what} refused", node=node.name, code=code, why=why)


def _take_heartbeat(core: Core, node: Node, heartbeat: Heartbeat) -> None:
    """Process a heartbeat if it is of this fleet, plausible, and newer than the node's last one."""
    if heartbeat.fleet != core.fleet or heartbeat.node != node.tag:
        return
    # Check that a coordinator of this fleet can have sent the reported epoch and message number.
    epoch = max(core.epoch, heartbeat.epoch_seen)
    raised = core.live.contacts.raised.get(heartbeat.node, 0)
    possible = (
        epoch <= max(core.epoch, core.most_epochs()) + EPOCHS_AHEAD
        and heartbeat.control_seen < (epoch + 1) * NUMBERS_IN_AN_EPOCH
        and (epoch == core.epoch or raised < MOST_RAISES)
    )
    if not possible:
        claim = f"it reports epoch {heartbeat.epoch_seen} and control message {heartbeat.control_seen}"
        raise_alarm(core, node, "heartbeat", "impossible", claim)
        return
    if detect_shared_key(core, node, heartbeat):
        return
    last = core.live.contacts.last_heartbeats.get(heartbeat.node)
    if last is not None and not _is_newer(heartbeat, last.heartbeat):
        return
    words = list_tombstones(core, heartbeat, last.heartbeat) if last is not None else []
    if words:
        with unit_of_work(core) as work:
            for word in words:
                work.send(node.name, word)
    if last is None or last.heartbeat.nonce != heartbeat.nonce:
        # The node waits for an answer, so the next heartbeat is sent in this pass.
        core.live.heartbeats.due_now()
    facts = quote_advice(heartbeat.facts, node.name)
    core.live.contacts.last_heartbeats[heartbeat.node] = LastHeartbeat(
        heartbeat.model_copy(update={"facts": facts})
    )
    paid = frozenset(one.name for one in facts.runtimes if one.login is LoggedIn.SUBSCRIPTION)
    core.live.contacts.subscriptions[node.name] = paid
    # Written after the last read, this heartbeat may still list attempts as open that have ended since.
    looked, freed = core.live.heartbeats.watch.last_ms, core.live.contacts.freed.pop(heartbeat.node, {})
    core.live.contacts.freed[heartbeat.node] = {one: ms for one, ms in freed.items() if ms > looked}
    _note_echo(core, heartbeat)
    # Messages that someone else sent to the node are recorded when the node reports them, each kind once. A
    # node that accepts a lost key rejects all our messages until it is brought up; this is not a forgery.
    if node.obeys in (None, core.key.public.keyid, *core.former):
        for problem in heartbeat.facts.problems:
            if problem.code in FORGED:
                raise_alarm(core, node, "what was sent to the node", problem.code, problem.what)
    _note_key(core, node, heartbeat)
    _catch_up(core, node, heartbeat)


def _note_key(core: Core, node: Node, heartbeat: Heartbeat) -> None:
    """Sign for the node with the current key once the node knows it; until then with a former one.

    Messages signed with another key are removed from the stream: later, knowing only the new key, the node
    would report them as forged.
    """
    ours = (core.key.public.keyid, *core.former)
    known = next((keyid for keyid in ours if keyid in heartbeat.obeys), None)
    if known is None or known == (node.obeys or core.key.public.keyid):
        return
    core.ports.bus.drop_controls(heartbeat.node)
    with unit_of_work(core) as work:
        edit_row(work.tx, Node, node.name, change=lambda row: replace(row, obeys=known))
        for body in map(_body_of, take_controls(work.tx, heartbeat.node)):
            # The countersignature of an acknowledgment is made with the old key; the node sends the receipt
            # again.
            if not isinstance(body, Acknowledge):
                work.send(node.name, body)


def _is_newer(heartbeat: Heartbeat, last: Heartbeat) -> bool:
    """Whether the heartbeat is newer; across sessions by its echo, as ended sessions cannot echo new ones."""
    if heartbeat.session == last.session:
        return heartbeat.seq > last.seq
    if heartbeat.echo is None:
        return last.echo is None or heartbeat.boot_id != last.boot_id or heartbeat.boot_ms > last.boot_ms
    return last.echo is None or not heartbeat.echo.is_past(last.echo)


def _note_echo(core: Core, heartbeat: Heartbeat) -> None:
    """Record when the node was last heard, by the boot clock; only echoes of our own heartbeats count."""
    echo, live, boot = heartbeat.echo, core.live, core.ports.clock.boot_ms()
    if echo is None or not live.contacts.first_epoch <= echo.epoch <= core.epoch or echo.ms > boot:
        return
    if echo.epoch == core.epoch:
        if echo.ms not in live.heartbeats.sent:
            return  # The echoed heartbeat was sent by another coordinator process with the same epoch.
        live.contacts.met.add(heartbeat.node)
    live.contacts.echoed_ms[heartbeat.node] = max(echo.ms, live.contacts.echoed_ms.get(heartbeat.node, 0))


def _catch_up(core: Core, node: Node, heartbeat: Heartbeat) -> None:
    """Avoid reusing an epoch or message number that the node has seen but the restored ledger lacks."""
    number, sent = heartbeat.control_seen, core.live.contacts.sent.get(node.name)
    if heartbeat.epoch_seen > core.epoch:
        fall_behind(core, f"{node.name} has seen the epoch {heartbeat.epoch_seen}")
    elif sent is not None and sent < number < core.live.contacts.first_epoch * NUMBERS_IN_AN_EPOCH:
        fall_behind(core, f"{node.name} has seen the message {number}")
    reused = heartbeat.epoch_seen == core.epoch and heartbeat.node not in core.live.contacts.met
    behind = heartbeat.epoch_seen > core.epoch or reused
    if not behind and heartbeat.control_seen <= node.control_seq and heartbeat.epoch_seen <= node.epoch_seen:
        return
    epoch = core.epoch
    with unit_of_work(core) as work:
        if behind:
            epoch = core.raise_epoch(heartbeat.epoch_seen, work.tx)
            work.audit("fleet", "warning", "raised the epoch above one that a node has seen", node=node.name)
            if not core.ends_if_behind:
                begin_hold(work, f"{node.name} has seen epoch {heartbeat.epoch_seen}", has_led=True)
        edit_row(work.tx, Node, node.name, change=partial(_caught_up, heartbeat=heartbeat))
        for other in work.tx.find(Node) if behind else [node]:
            if behind or heartbeat.control_seen > node.control_seq:
                _renumber_messages(work, other)
    if behind:
        core.live.contacts.raised[heartbeat.node] = core.live.contacts.raised.get(heartbeat.node, 0) + 1
        core.enter(epoch)


def _caught_up(node: Node, heartbeat: Heartbeat) -> Node:
    """Return the node with the highest epoch and message number that it has seen."""
    seen, number = max(node.epoch_seen, heartbeat.epoch_seen), max(node.control_seq, heartbeat.control_seen)
    return replace(node, epoch_seen=seen, control_seq=number)


def _renumber_messages(work: Work, node: Node) -> None:
    """Give waiting messages new numbers, as the old ones were used; the node's settings come first."""
    if node.tag is None or node.removed == NodeState.REMOVED:
        return
    waiting = take_controls(work.tx, node.tag)
    say_settings(work, node)
    for message in waiting:
        if not _is_setting(message):
            work.send(node.name, _body_of(message))
    work.audit("fleet", "warning", "the node has seen more messages than this ledger knows", node=node.name)


def say_settings(work: Work, node: Node) -> None:
    """Send the node's current settings under new numbers, in place of waiting messages about them. This
    happens at each start, as a restored ledger does not know which messages the node has received since."""
    if node.tag is None or node.removed == NodeState.REMOVED:
        return
    take_controls(work.tx, node.tag, _is_setting)
    work.send(node.name, SetSlots(slots=node.slots, least=node.least))
    work.send(node.name, Drain(on=node.draining is not None, reason=node.draining or ""))


def _is_setting(message: ControlMessage) -> bool:
    return isinstance(_body_of(message), SetSlots | Drain)


def _body_of(message: ControlMessage) -> ControlBody:
    return parse_message(Control, parse_envelope(message.envelope).body()).body
