"""Sends heartbeats, repeats control messages until nodes have seen them, and declares silent nodes lost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from node_agent.wire.control import CoordinatorHeartbeat
from node_agent.wire.model import FleetTime
from pancode.kernel.node import SILENT, NodeView
from pancode.kernel.records import ControlMessage, EventKind, Node
from pancode.kernel.row_updates import take_controls
from pancode.runs.core import Core, open_leases
from pancode.runs.life.changes import Happened
from pancode.runs.life.ends import Lost
from pancode.runs.life.jobs import identity_of
from pancode.runs.life.node_events import NodeSilent
from pancode.runs.unit_of_work import unit_of_work


def record_contact(core: Core, reached: bool) -> None:
    """Record whether Redis was reachable; the deadlines of nodes take this into account."""
    tolerance = 3 * core.rules.heartbeat_ms
    core.live.heartbeats.watch = core.live.heartbeats.watch.looked(
        core.ports.clock.boot_ms(), tolerance, reached
    )


def send_heartbeats(core: Core) -> None:
    """Send a signed heartbeat to every enrolled node, when due."""
    boot = core.ports.clock.boot_ms()
    if core.live.heartbeats.last_ms >= 0 and boot - core.live.heartbeats.last_ms < core.rules.heartbeat_ms:
        return
    core.live.heartbeats.last_ms = boot
    core.live.heartbeats.seq += 1
    with core.ports.ledger.transaction() as tx:
        nodes = [n for n in tx.find(Node) if n.tag is not None and n.removed != "removed"]
        cursors: dict[str, dict[str, int]] = {}
        for lease in open_leases(tx):
            cursors.setdefault(lease.tag, {})[str(identity_of(lease))] = lease.cursor
        lowest: dict[str, int] = {}
        for message in tx.find(ControlMessage):
            lowest[message.tag] = min(message.seq, lowest.get(message.tag, message.seq))
    time, names = core.now(), dict[str, str]()
    core.live.heartbeats.sent.append(time.ms)
    for node in nodes:
        tag = node.tag or ""
        floor = lowest.get(tag, node.control_seq + 1) - 1
        names[tag] = _sign_heartbeat(core, node, cursors.get(tag, {}), (time, floor))
    core.ports.bus.set_heartbeats(names)
    core.live.heartbeats.is_refused = False


def _sign_heartbeat(core: Core, node: Node, cursors: dict[str, int], now: tuple[FleetTime, int]) -> str:
    """Return a signed heartbeat for the node. `now`: the time, and the last handled control message."""
    last = core.live.contacts.last_heartbeats.get(node.tag or "")
    message = CoordinatorHeartbeat(
        fleet=core.fleet,
        node=node.tag or "",
        seq=core.live.heartbeats.seq,
        time=now[0],
        answers=last.heartbeat.nonce if last else None,
        cursors=cursors,
        control_floor=now[1],
    )
    return message.signed(core.key_for(node)).model_dump_json()


def flush_controls(core: Core) -> None:
    """Send the control messages that nodes have not seen yet; delete those that they have seen.

    All waiting messages are examined if a node has seen more, or a message must be repeated; otherwise only
    new ones: in a busy fleet hundreds wait for the next heartbeat.
    """
    boot, outbox = core.ports.clock.boot_ms(), core.live.outbox
    seen = {tag: last.heartbeat.control_seen for tag, last in core.live.contacts.last_heartbeats.items()}
    if seen == outbox.seen and boot < outbox.due_ms:
        waiting = _new_controls(core)
    else:
        outbox.due_ms = 0  # If Redis is unavailable now, the next pass tries again.
        with core.ports.ledger.transaction() as tx:
            removed = take_controls(tx, None, lambda message: seen.get(message.tag, -1) >= message.seq)
            waiting = tx.find(ControlMessage)
        for message in removed:
            core.live.outbox.sent_ms.pop(_sent_key(message), None)
        outbox.seen, outbox.due_ms = seen, boot + core.rules.control_again_ms
    _send_controls(core, waiting, boot)
    core.live.outbox.issued.clear()


def _new_controls(core: Core) -> list[ControlMessage]:
    if not core.live.outbox.issued:
        return []
    with core.ports.ledger.transaction() as tx:
        found = [tx.get(ControlMessage, *key) for key in core.live.outbox.issued]
    return [message for message in found if message is not None]


def _send_controls(core: Core, waiting: list[ControlMessage], boot: int) -> None:
    """Send the messages that were never sent, or were sent so long ago that they may have been lost."""
    due: dict[str, list[ControlMessage]] = {}
    for message in waiting:
        last, again_ms = core.live.outbox.sent_ms.get(_sent_key(message)), core.rules.control_again_ms
        if last is None or boot - last >= again_ms:
            due.setdefault(message.tag, []).append(message)
        else:
            core.live.outbox.due_ms = min(core.live.outbox.due_ms, last + again_ms)
    for tag, messages in due.items():
        core.ports.bus.send_controls(tag, [(m.seq, m.envelope) for m in messages])
        core.live.outbox.sent_ms.update({_sent_key(m): boot for m in messages})


def _sent_key(message: ControlMessage) -> str:
    return f"control:{message.tag}:{message.seq}"


def judge_nodes(core: Core) -> None:
    """Write changed states of nodes to the feed, and give up the leases of lost nodes."""
    with core.ports.ledger.transaction() as tx:
        views = core.views(tx)
    _tell_states(core, views)
    # A lease ends as `lost` if its node was silent for the whole deadline while the coordinator was awake.
    with unit_of_work(core) as work:
        leases = open_leases(work.tx)
        if not leases and not core.live.outages.away:
            return
        # The timeline of each active run records when its node is silent, and when the node is heard again.
        states = {view.node.name: view.state for view in views}
        away = work.core.live.outages.away
        for key, lease in list(away.items()):
            if states.get(lease.node) not in SILENT:
                work.signal_lease(lease, NodeSilent(back=True))
                work.after(partial(away.pop, key, None))
        for lease in leases:
            key = str(identity_of(lease))
            if states.get(lease.node) in SILENT and key not in away:
                work.signal_lease(lease, NodeSilent())
                work.after(partial(away.__setitem__, key, lease))
        lost = {v.node.name for v in views if v.given_up}
        for lease in leases:
            if lease.node in lost:
                work.signal_lease(lease, Lost(f"{lease.node} sent no heartbeat for the whole deadline"))


def _tell_states(core: Core, views: Sequence[NodeView]) -> None:
    """Write each node's changed state into the feed."""
    known = core.live.outages.states
    new = {view.node.name: view.state for view in views if known.get(view.node.name) is not view.state}
    if not new:
        return
    with unit_of_work(core) as work:
        for name, state in new.items():
            was = known[name].value if name in known else None
            work.happened(Happened(EventKind.NODE_STATE, None, name, {"state": state.value, "was": was}))
        work.after(partial(known.update, new))
