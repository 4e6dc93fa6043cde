"""Spends one dollar at a time while some are left, with a ledger opened anew; a process of the race."""

from __future__ import annotations

import sys
from decimal import Decimal

from pancode.app.schema import SCHEMA
from pancode.kernel.records import Balance
from pancode.store.ledger import SqlLedger
from pancode.store.postgres import Database, database_of

SCOPE = "day:1"


def buy(database: Database, ceiling: Decimal) -> bool:
    """Whether there was a dollar left. Whoever comes second waits, and never meets a conflict."""
    ledger = SqlLedger(database, SCHEMA, busy_ms=60_000)
    try:
        with ledger.transaction() as tx:
            balance = tx.get(Balance, SCOPE) or Balance(SCOPE)
            if balance.spent_usd >= ceiling:
                return False
            tx.put(Balance(SCOPE, balance.spent_usd + 1))
            return True
    finally:
        ledger.close()


def main() -> None:
    database, ceiling = database_of(sys.argv[1]), Decimal(sys.argv[2])
    bought = 0
    while buy(database, ceiling):
        bought += 1
    sys.stdout.write(f"{bought}\n")


if __name__ == "__main__":
    main()
