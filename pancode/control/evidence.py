"""Keeps receipts that settle nothing (orphans, rejected ones): so many a day of each node, and no more."""

from __future__ import annotations

from pancode.control.core import Core, open_fences
from pancode.control.quarantine import shut_out
from pancode.domain.quota import Evidence, too_much_evidence
from pancode.domain.records import Node, Setting, StoredReceipt
from pancode.ports import Transaction

KEPT = "evidence:"
DAY_MS = 86_400_000


def keep(core: Core, tx: Transaction, name: str, receipt: StoredReceipt) -> bool:
    """Whether it is in the ledger now, and may be answered.

    Not of a node that has had its share of the day, which is quarantined; and not while the disk is nearly
    full: without an answer the node keeps it, and sends it again.
    """
    node = tx.get(Node, name)
    if tx.get(StoredReceipt, receipt.digest) is None and not _fits(core, tx, node, receipt):
        return False
    tx.put(receipt)
    return True


def one_more(core: Core, tx: Transaction, name: str) -> bool:
    """Whether a receipt that is not kept may be answered: each answer is kept until the node has seen it."""
    node = tx.get(Node, name)
    return node is not None and node.quarantined is None and _count(core, tx, node, 0)


def _fits(core: Core, tx: Transaction, node: Node | None, receipt: StoredReceipt) -> bool:
    if node is None or node.quarantined is not None:
        return False
    if not core.ports.archive.has_room():
        _note_full(core, tx, node)
        return False
    return _count(core, tx, node, len(receipt.envelope))


def _count(core: Core, tx: Transaction, node: Node, size: int) -> bool:
    """One more receipt, kept or asked for again; False: it is one too many, and the node is quarantined."""
    day, share = core.wall_ms() // DAY_MS, core.rules.evidence
    stored = tx.get(Setting, KEPT + (node.tag or ""))
    known = stored.value if stored is not None and isinstance(stored.value, dict) else {}
    before = Evidence(known["receipts"], known["size"]) if known.get("day") == day else Evidence(0, 0)
    now = Evidence(before.receipts + 1, before.size + size)
    why = too_much_evidence(now, share)
    if why:
        shut_out(core, tx, node, open_fences(tx, tag=node.tag), why)
        return False
    value = {"day": day, "receipts": now.receipts, "size": now.size}
    tx.put(Setting(KEPT + (node.tag or ""), value, core.wall_ms(), "coordinator"))
    return True


def forget(tx: Transaction, node: Node) -> None:
    """A person has looked at it: its share of this day begins anew."""
    tx.delete(Setting, KEPT + (node.tag or ""))


def _note_full(core: Core, tx: Transaction, node: Node) -> None:
    key = f"{node.name}:receipt:no room"
    core.live.refusals[key] = core.live.refusals.get(key, 0) + 1
    if core.live.refusals[key] == 1:
        core.audit(tx, "receipt", "warning", "receipt not kept: the disk is nearly full", node=node.name)
