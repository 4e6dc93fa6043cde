"""Decides from the epochs in the home and in the ledger whether a coordinator leads its fleet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pancode.kernel.ports import Transaction
from pancode.kernel.records import Node, Run, Setting

EPOCH, EPOCH_BEFORE = "epoch", "epoch_before"
"""The settings with the newest epoch, and with the epoch that was in the file when that one began."""


class FleetMode(StrEnum):
    """What a coordinator may do with its fleet. HELD and FENCED: only answer what reads."""

    LEADS = "leads"
    HELD = "held"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the mode depends on. `file`: the epoch in the home; None: the file is missing or a copy. `ledger`:
    the newest epoch in the ledger; None: no coordinator has used it. `before`: the epoch that was in the file
    when that one began. `is_used`: the ledger has nodes or runs. `is_behind`: a node knows what the ledger
    lacks. `is_fenced`: another coordinator's claim was found."""

    file: int | None
    ledger: int | None
    before: int | None = None
    is_used: bool = True
    is_behind: bool = False
    is_fenced: bool = False


def decide_mode(facts: Facts) -> FleetMode:
    """Return the mode. The ledger names an epoch first, then the file: after a crash between these, the file
    has the epoch before. Any other difference shows that one of them was put back."""
    if facts.is_fenced:
        return FleetMode.FENCED
    if facts.is_behind:
        return FleetMode.HELD
    if facts.ledger is None or not facts.is_used:
        return FleetMode.LEADS
    is_right = facts.file is not None and facts.file in (facts.ledger, facts.before)
    return FleetMode.LEADS if is_right else FleetMode.HELD


def read_facts(tx: Transaction, file: int | None) -> Facts:
    """Return the facts that the ledger has about its epochs. `file`: the epoch in the home."""
    epoch, before = (
        row.value if (row := tx.get(Setting, name)) is not None and isinstance(row.value, int) else None
        for name in (EPOCH, EPOCH_BEFORE)
    )
    return Facts(file, epoch, before, bool(tx.find(Node, limit=1) or tx.find(Run, limit=1)))
