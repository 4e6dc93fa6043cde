"""Stores receipts that settle nothing (orphaned, rejected), a limited number per node and day."""

from __future__ import annotations

from dataclasses import replace

from pancode.kernel.ports import Transaction
from pancode.kernel.quota import ForeignReceipts, too_much_evidence
from pancode.kernel.records import Node, Setting, StoredReceipt
from pancode.runs.core import open_leases
from pancode.runs.life.node_events import Quarantined
from pancode.runs.unit_of_work import Work


def shut_out(work: Work, node: Node, why: str) -> None:
    """Quarantine the node. Its active runs continue; their timelines record why the node is silent."""
    work.tx.put(replace(node, quarantined=why))
    work.audit("trust", "error", "node quarantined", node=node.name, why=why)
    for lease in open_leases(work.tx, tag=node.tag):
        work.signal_lease(lease, Quarantined(why))


KEPT = "evidence:"
DAY_MS = 86_400_000


def store_foreign_receipt(work: Work, name: str, receipt: StoredReceipt) -> bool:
    """Store a receipt that settles nothing; return whether the ledger now has it, so that it may be answered.

    It is not stored if the node has used up its daily limit, which quarantines it, or while the disk is
    nearly full: without an answer the node keeps the receipt, and sends it again.
    """
    node = work.tx.get(Node, name)
    if work.tx.get(StoredReceipt, receipt.digest) is None and not _fits_share(work, node, receipt):
        return False
    work.tx.put(receipt)
    return True


def one_more(work: Work, name: str) -> bool:
    """Whether a receipt may be answered without being stored; it counts, as its answer is stored."""
    node = work.tx.get(Node, name)
    return node is not None and node.quarantined is None and _count(work, node, 0)


def _fits_share(work: Work, node: Node | None, receipt: StoredReceipt) -> bool:
    if node is None or node.quarantined is not None:
        return False
    if not work.core.ports.archive.has_room():
        if work.first(f"{node.name}:receipt:no room"):
            work.audit("receipt", "warning", "receipt not stored: the disk is nearly full", node=node.name)
        return False
    return _count(work, node, len(receipt.envelope))


def _count(work: Work, node: Node, size: int) -> bool:
    """Count one more receipt of the node; if this exceeds its limit, quarantine the node and return False."""
    day, before = work.core.wall_ms() // DAY_MS, _kept_today(work, node)
    now = ForeignReceipts(before.receipts + 1, before.size + size)
    why = too_much_evidence(now, work.core.rules.evidence)
    if why:
        shut_out(work, node, why)
        return False
    value = {"day": day, "receipts": now.receipts, "size": now.size}
    work.tx.put(Setting(KEPT + (node.tag or ""), value, work.core.wall_ms(), "coordinator"))
    return True


def _kept_today(work: Work, node: Node) -> ForeignReceipts:
    """Return the number and the bytes of the node's receipts that were counted today."""
    stored = work.tx.get(Setting, KEPT + (node.tag or ""))
    known = stored.value if stored is not None and isinstance(stored.value, dict) else {}
    if known.get("day") != work.core.wall_ms() // DAY_MS:
        return ForeignReceipts(0, 0)
    return ForeignReceipts(known["receipts"], known["size"])


def reset_share(tx: Transaction, node: Node) -> None:
    """Reset the node's daily limit of such receipts, after a user has examined the node."""
    tx.delete(Setting, KEPT + (node.tag or ""))
