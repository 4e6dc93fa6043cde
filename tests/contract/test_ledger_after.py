"""A search that continues after a place, in every ledger."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.kernel.ports import Ledger
from pancode.kernel.records import BookEntry, Node
from tests.contract.test_ledger import entry, ledger, open_ledger, write

__all__ = ["ledger", "open_ledger"]


def test_a_search_goes_on_after_a_place_whatever_comes_in_before_it(ledger: Ledger) -> None:
    """Rows of one value of the order are told apart by their keys, also by a longer one."""
    nodes = [Node(f"n{i}", i // 2, {}, {}, 1) for i in range(6)]
    write(ledger, *nodes, *(entry(number) for number in range(6)))
    with ledger.transaction() as tx:
        newest: Any = {"order": "added_ms", "descending": True}
        assert [n.name for n in tx.find(Node, **newest, after=(1, "n3"))] == ["n2", "n1", "n0"]
        assert [n.name for n in tx.find(Node, **newest, limit=1, after=(1, "n9"))] == ["n3"]
        assert [n.name for n in tx.find(Node, order="added_ms", after=(1, "n2"))] == ["n3", "n4", "n5"]
        assert [n.name for n in tx.find(Node, after=("n3",))] == ["n4", "n5"]
        tx.put(Node("n7", 9, {}, {}, 1))
        assert [n.name for n in tx.find(Node, **newest, after=(1, "n3"))] == ["n2", "n1", "n0"]
        mine = tx.find(BookEntry, {"run": "r-1"}, order="at_ms", after=(96, "e004"))
        assert [row.id for row in mine] == ["e003", "e002", "e001", "e000"]
        wrong: Any
        for wrong in ((1,), (1, "n1", 2), (None, "n1")):
            with pytest.raises(ValueError):
                tx.find(Node, order="added_ms", after=wrong)
