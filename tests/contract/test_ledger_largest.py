"""The largest rows and those below a number, in every ledger."""

from __future__ import annotations

from decimal import Decimal

from pancode.kernel.ports import Grouping, Ledger
from pancode.kernel.records import EndedRun
from pancode.kernel.values import replace
from tests.contract.ended import ENDED
from tests.contract.test_ledger import ledger, open_ledger, write

__all__ = ["ledger", "open_ledger"]


def test_the_largest_of_many_rows_and_those_below(ledger: Ledger) -> None:
    amounts = {"r-1": "9.5", "r-2": "10.25", "r-3": "0.1", "r-4": "100"}
    write(ledger, *(replace(ENDED, run=run, usd=Decimal(usd)) for run, usd in amounts.items()))
    write(ledger, replace(ENDED, run="r-5", first_ms=None, usd=Decimal(0)))
    two = Grouping(("run",), ("usd",), least=("first_ms", 1), largest=("usd", 2))
    with ledger.transaction() as tx:
        assert [group.key for group in tx.tally(EndedRun, two)] == [("r-4",), ("r-2",)]
        assert tx.tally(EndedRun, Grouping(("run",), below=("first_ms", 3))) == []
        assert len(tx.tally(EndedRun, Grouping(("run",), below=("first_ms", 4)))) == 4
