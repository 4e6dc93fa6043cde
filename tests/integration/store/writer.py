"""Commits numbered entries and prints each number once it is durable; a process of the kill test."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

from pancode.app.schema import SCHEMA
from pancode.kernel.records import Balance, BookEntry, EntryKind
from pancode.store.ledger import SqlLedger

SCOPE = "day:1"


def main() -> None:
    ledger = SqlLedger(Path(sys.argv[1]), SCHEMA)
    for number in range(1, 1_000_000):
        with ledger.transaction() as tx:
            balance = tx.get(Balance, SCOPE) or Balance(SCOPE)
            tx.insert(BookEntry(f"e{number:07}", 1, SCOPE, EntryKind.SPEND, "r-1", 1, 1, Decimal(1)))
            tx.put(Balance(SCOPE, balance.spent_usd + 1))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
