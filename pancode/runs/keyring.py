"""The history of keys: which key signed for which node or coordinator, and during which time."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from node_agent.wire.signing import PublicKey, SigningKey, parse_envelope
from pancode.kernel.node import NodeState
from pancode.kernel.ports import Transaction
from pancode.kernel.records import KnownKey, Lease, LeaseState, Node, Setting
from pancode.kernel.row_updates import edit_row
from pancode.runs.core import Core, hold_lock
from pancode.runs.receipts.verification import TrustedKey, TrustedKeys
from pancode.runs.unit_of_work import unit_of_work

NODE, COORDINATOR = "node", "coordinator"
CURRENT = "coordinator_key"
"""The setting with the coordinator's public key that the nodes of this ledger's fleet obey."""

_parsed = lru_cache(maxsize=1_000)(PublicKey.parse)
"""Parsed keys are cached, as every message needs the same few keys."""


def keys_of(node: Node) -> dict[str, PublicKey]:
    """Return the node's enrolled key, by key id; empty if the node has none."""
    if node.public_key is None:
        return {}
    key = _parsed(node.public_key)
    return {key.keyid: key}


def start_key(tx: Transaction, role: str, name: str, key: PublicKey, now_ms: int) -> None:
    """Record that this key signs for `name` from now on; a former key becomes current again."""
    known = tx.get(KnownKey, key.keyid, name)
    from_ms = known.from_ms if known is not None else now_ms
    tx.put(KnownKey(key.keyid, name, role, key.text(), from_ms))


def end_key(tx: Transaction, name: str, public: str | None, now_ms: int) -> None:
    """Record that the key no longer signs for `name`; its older signatures remain verifiable."""
    if public is not None:
        edit_row(
            tx, KnownKey, PublicKey.parse(public).keyid, name, change=lambda known: _end_key(known, now_ms)
        )


def _end_key(known: KnownKey, now_ms: int) -> KnownKey:
    """Return the key with this end time, unless it already has one."""
    return known if known.until_ms is not None else replace(known, until_ms=now_ms)


def read_trusted_keys(tx: Transaction) -> TrustedKeys:
    """Return all keys of nodes and coordinator, including former ones."""
    return TrustedKeys(_find_keys(tx, NODE), _find_keys(tx, COORDINATOR))


def find_coordinator_keys(tx: Transaction) -> dict[str, PublicKey]:
    """Return the coordinator's keys by key id, including former ones."""
    return {row.keyid: _parsed(row.public) for row in tx.find(KnownKey, {"role": COORDINATOR})}


def node_tags(tx: Transaction) -> set[str]:
    """Return the tags of all node keys, including former ones."""
    return {_parsed(row.public).tag for row in tx.find(KnownKey, {"role": NODE})}


def _find_keys(tx: Transaction, role: str) -> dict[str, TrustedKey]:
    found: dict[str, TrustedKey] = {}
    for row in tx.find(KnownKey, {"role": role}):
        key = TrustedKey(PublicKey.parse(row.public), (row.name,), row.from_ms, row.until_ms)
        found[row.keyid] = key.joined(found.get(row.keyid))
    return found


def list_needed_keys(tx: Transaction, node: Node) -> set[str]:
    """Return the ids of former keys that a node must still accept for jobs that it may still take."""
    offered = tx.find(Lease, {"tag": node.tag, "state": LeaseState.OFFERED}) if node.tag else []
    signed = {one.keyid for lease in offered for one in parse_envelope(lease.job).signatures}
    return signed if node.obeys is None else {node.obeys, *signed}


def believed_by(core: Core, node: Node) -> list[PublicKey]:
    """Return the coordinator's key, and the former keys that the node must still accept."""
    with core.ports.ledger.transaction() as tx:
        needed = list_needed_keys(tx, node)
    former = (key.public for keyid, key in core.former.items() if keyid in needed)
    return list(dict.fromkeys((core.key.public, *former)))


def keep_obeyed(tx: Transaction, old: PublicKey) -> None:
    """Record for each enrolled node that it accepts this key, until it is brought up with another key."""
    for node in tx.find(Node):
        if node.public_key is not None and node.obeys is None:
            tx.put(replace(node, obeys=old.keyid))


@hold_lock
def rotate_key(core: Core, fresh: SigningKey, by: str) -> None:
    """Sign with the new key from now on; for a node that does not know it yet, the former key signs."""
    old = core.key
    with unit_of_work(core) as work:
        keep_obeyed(work.tx, old.public)
        work.tx.put(Setting(CURRENT, fresh.public.text(), core.wall_ms(), by))
        start_key(work.tx, COORDINATOR, core.fleet, fresh.public, core.wall_ms())
        work.audit(
            "trust", "warning", "coordinator key rotated", by=by, old=old.public.tag, new=fresh.public.tag
        )
    core.former[old.public.keyid] = old
    core.key = fresh


@hold_lock
def retire_keys(core: Core) -> tuple[str, ...]:
    """End the former keys that no node needs any more, and return their ids; these keys never sign again."""
    with unit_of_work(core) as work:
        there = [node for node in work.tx.find(Node) if node.removed != NodeState.REMOVED]
        needed = {keyid for node in there for keyid in list_needed_keys(work.tx, node)}
        done = [key for keyid, key in core.former.items() if keyid not in needed]
        for key in done:
            end_key(work.tx, core.fleet, key.public.text(), core.wall_ms())
            work.audit("trust", "info", "former coordinator key retired", key=key.public.tag)
    for key in done:
        core.former.pop(key.public.keyid)
    return tuple(key.public.keyid for key in done)
