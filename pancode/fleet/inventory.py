"""The nodes of the fleet: added, enrolled, changed, drained, revoked, removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from node_agent.wire.control import Drain, Revoke, SetSlots
from node_agent.wire.signing import PublicKey
from pancode.fleet.acts import NodeChange
from pancode.fleet.place import Reach
from pancode.kernel.errors import ConflictError, NotFoundError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.node import Linked, NodeState, NodeView
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Node
from pancode.kernel.row_updates import take_controls
from pancode.runs import keyring
from pancode.runs.core import Core, hold_lock, open_leases
from pancode.runs.life.ends import Lost
from pancode.runs.unit_of_work import Work, unit_of_work


@hold_lock
def add(core: Core, node: Node) -> None:
    """Add a node; ConflictError if a node that was not removed has the name."""
    with unit_of_work(core) as work:
        known = work.tx.get(Node, node.name)
        if known is not None and known.removed is None:
            raise ConflictError(f"node {node.name} already exists", fix=f"pancode node show {node.name}")
        work.tx.put(node)
        if node.public_key is not None:
            keyring.start_key(
                work.tx, keyring.NODE, node.name, PublicKey.parse(node.public_key), core.wall_ms()
            )
        work.audit("fleet", "info", "node added", node=node.name)
    _begin_anew(core, known or node)


def enrol(core: Core, name: str, public_key: str) -> Node:
    """Record the node's public key, which was read from its key file over SSH. A changed key is audited."""
    key = PublicKey.parse(public_key)
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        if node.public_key == key.text():
            return node
        _refuse_duplicate(work.tx, node, key)
        if node.tag is not None:
            work.audit("trust", "warning", "node key replaced", node=name, old=node.tag, new=key.tag)
            keyring.end_key(work.tx, name, node.public_key, core.wall_ms())
            _part_with(
                work, node, f"the key of {name} was replaced: nothing signed with the old key is accepted"
            )
        else:
            work.audit("trust", "info", "node key enrolled", node=name, tag=key.tag)
        enrolled = replace(node, tag=key.tag, public_key=key.text(), control_seq=0, epoch_seen=0)
        work.tx.put(enrolled)
        keyring.start_key(work.tx, keyring.NODE, name, key, core.wall_ms())
        return enrolled


def _refuse_duplicate(tx: Transaction, node: Node, key: PublicKey) -> None:
    """Raise ConflictError if another node has this key, since removing one would remove the other."""
    for other in tx.find(Node, {"tag": key.tag}):
        if other.name != node.name and other.removed != NodeState.REMOVED:
            why = f"the node's home contains the key of {other.name} ({key.tag})"
            raise _same_machine(node.name, other.name, why)


def _same_machine(name: str, other: str, why: str) -> ConflictError:
    return ConflictError(
        f"{name} is the same host and user as {other}",
        why=why,
        fix=f"pancode node rm {name} (this does not change {other})",
        code="same_machine",
    )


def refuse_home_of(core: Core, name: str, other: str, home: str) -> None:
    """Raise ConflictError if the node home found on `name` is that of `other`. Either both names mean one
    computer (by the host key), or the two computers share the home, or it was copied."""
    with core.ports.ledger.transaction() as tx:
        node, twin = _require_node(tx, name), tx.get(Node, other)
    if twin is None or twin.removed is not None:
        return
    here, there = Reach.of(node), Reach.of(twin)
    if (here.local and there.local) or set(here.pins.values()) & set(there.pins.values()):
        why = f"both present the same host key, and {home} is the home of {other}"
        raise _same_machine(name, other, why)
    raise ConflictError(
        f"{name} and {other} use the same node home",
        why=f"{home} there was set up for {other}: either both hosts share the directory, or it was copied",
        fix=(
            f"if it is shared: pancode node rm {name}, then pancode node add {name} --node-home PATH, with a "
            f"separate directory; if it was copied: rm -r {home} there, then pancode fleet up {name}"
        ),
        code="same_home",
    )


def change(core: Core, name: str, edit: Callable[[Node], Node]) -> Node:
    """Change a node's own settings; a new number of slots is sent to the node."""
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        return _store_change(work, node, edit(node))


def adjust(core: Core, name: str, wanted: NodeChange, by: str) -> Node:
    """Set the owner's slots and labels for a node; runs already on it stay there. NotFoundError for removing
    a label that it does not have, UsageError for a label that is both set and removed."""
    both = sorted(set(wanted.labels) & set(wanted.unlabel))
    if both:
        raise UsageError(f"label {both[0]} cannot be both set and removed", fix="omit one of the two")
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        for label in wanted.unlabel:
            if label not in node.labels:
                raise not_found("label", label, node.labels, f"pancode node show {name}")
        labels = {k: v for k, v in node.labels.items() if k not in wanted.unlabel} | dict(wanted.labels)
        slots, least = (node.slots, node.least) if wanted.slots is None else (wanted.slots, wanted.least)
        gpus = node.gpus if wanted.gpus is None else wanted.gpus
        work.audit(
            "fleet",
            "info",
            "node set",
            node=name,
            by=by,
            slots=slots,
            least=least,
            gpus=gpus.value,
            labels=labels,
        )
        return _store_change(work, node, replace(node, labels=labels, slots=slots, least=least, gpus=gpus))


def note_act(core: Core, name: str, what: str, by: str, outcome: str | None, **about: object) -> None:
    """Record in the audit log what a user does on a node and, with `outcome`, how it ended."""
    ended = {} if outcome is None else {"outcome": outcome}
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        work.audit("trust", "info", what, None, node=node.name, **about, by=by, **ended)


def _store_change(work: Work, node: Node, changed: Node) -> Node:
    work.tx.put(changed)
    if (changed.slots, changed.least) != (node.slots, node.least):
        work.send(changed.name, SetSlots(slots=changed.slots, least=changed.least))
    return changed


def drain(core: Core, name: str, reason: str | None, by: str) -> Node:
    """Drain the node for this reason, so that nothing new starts on it, or (None) end the draining."""
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        changed = replace(node, draining=reason)
        work.tx.put(changed)
        work.send(changed.name, Drain(on=reason is not None, reason=reason or ""))
        # refusals from the time of draining no longer apply
        work.after(partial(core.live.passed_over.resting.pop, name, None))
        work.audit("fleet", "info", "drain" if reason is not None else "resume", node=name, by=by, why=reason)
        return changed


def pause(core: Core, name: str, reason: str | None, by: str) -> Node:
    """Pause the node for this reason, so that it gets no new work, or (None) give it work again."""
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        what = "node paused" if reason is not None else "node resumed"
        work.audit("fleet", "info", what, node=name, by=by, why=reason)
        return _store_change(work, node, replace(node, paused=reason))


def revoke(core: Core, name: str) -> Node:
    """Remove the node from the fleet: it gets no runs, and loses its Redis user once it owes no receipt."""
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        changed = replace(node, removed=NodeState.NOT_CLEANED.value)
        work.tx.put(changed)
        work.send(changed.name, Revoke(reason="removed from the fleet"))
        work.audit("fleet", "info", "node revoked", node=name)
        return changed


@hold_lock
def forget(core: Core, name: str) -> None:
    """Forget a node that was cleaned and checked: its open leases are given up, and its key is not
    trusted."""
    with unit_of_work(core) as work:
        node = _require_node(work.tx, name)
        _part_with(work, node, f"{name} was removed from the fleet")
        work.tx.put(replace(node, removed=NodeState.REMOVED.value))
        keyring.end_key(work.tx, name, node.public_key, core.wall_ms())
        work.audit("fleet", "info", "node removed", node=name)
    _begin_anew(core, node)
    if node.tag is not None:
        core.live.contacts.forget(node.tag)
        core.ports.bus.expel_node(node.tag)


def _begin_anew(core: Core, node: Node) -> None:
    """End the quarantine of a node that left the fleet: a new node with its name or key may connect."""
    core.live.redis.shut_out.discard(node.tag or "")
    core.note_reaching(node.name, lambda r: replace(r, shut_out=False))


def _part_with(work: Work, node: Node, why: str) -> None:
    """Give up the leases that only messages signed with the node's old key could have ended."""
    for lease in open_leases(work.tx, node=node.name):
        work.signal_lease(lease, Lost(why))
    take_controls(work.tx, node.tag or "")


# -- updates from the thread of the links: these do not wait for a pass ------------------------------


def put_link(core: Core, name: str, trying: bool, why: str = "", fix: str = "") -> None:
    """Record whether the coordinator tries to reach a node; while not, none of its runs counts as lost."""
    core.note_reaching(name, lambda r: replace(r, trying=trying, why=why, fix=fix))


def count_link_state(core: Core, name: str, up: bool, broken: bool) -> None:
    """Count in the metrics that the link is up, or (`broken`) that it failed. Called by one thread only."""
    links = core.live.links.counts
    links[name] = links.get(name, Linked()).became(up, broken)


def put_halted(core: Core, name: str, halted: bool) -> None:
    """Record whether a user has stopped the node agent; as in `put_link`, not kept across a restart."""
    core.note_reaching(name, lambda r: replace(r, halted=halted))


# -- queries ---------------------------------------------------------------------------------------


@hold_lock
def get_view(core: Core, name: str) -> NodeView:
    """Return the view of a node that decisions use now, even of a removed node. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        node = tx.get(Node, name)
        if node is None:
            raise NotFoundError(f"node {name} not found", fix="pancode node ls")
        return core.view_of(node)


def list_names(core: Core) -> list[str]:
    """Return the names of the nodes, without those that were removed."""
    with core.ports.ledger.transaction() as tx:
        return [node.name for node in tx.find(Node) if node.removed is None]


def busy_runs(core: Core, names: Sequence[str]) -> list[str]:
    """Return the runs that may be running on these nodes; without names: on any node."""
    with core.ports.ledger.transaction() as tx:
        return sorted({lease.run for lease in open_leases(tx) if not names or lease.node in names})


def _require_node(tx: Transaction, name: str) -> Node:
    node = tx.get(Node, name)
    if node is None or node.removed == NodeState.REMOVED:
        raise NotFoundError(f"node {name} not found", fix="pancode node ls")
    return node
