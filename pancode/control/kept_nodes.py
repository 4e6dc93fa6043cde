"""Keeps the rows of nodes in memory: every round looks at all of them, and few are ever written.

A row that was written is read anew by its key, whatever became of the write: memory never says more than
the ledger. That holds as long as nobody else writes nodes: a coordinator has its ledger for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar, cast

from pancode.domain.records import Node, Record
from pancode.ports import Grouped, Grouping, Key, Ledger, Transaction

R = TypeVar("R", bound=Record)


class KeptNodes:
    """A pancode.ports.Ledger on another one, of which only one transaction is open at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: dict[str, Node] | None = None
        """By name, in its order; None: not read yet."""
        self._written: set[str] = set()
        """Nodes whose rows may be others in the ledger."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._ledger.transaction() as tx:
            yield KeptTransaction(tx, self)

    def close(self) -> None:
        self._ledger.close()

    def wrote(self, name: str) -> None:
        """It is read anew in each later transaction until one leaves it alone."""
        self._written.add(name)

    def rows(self, tx: Transaction, mine: set[str]) -> dict[str, Node]:
        """As this transaction sees them. `mine`: what it has written itself, and may still take back."""
        if self._rows is None:
            self._rows = {node.name: node for node in tx.find(Node)}
            self._written = set(mine)
        elif self._written:
            before = self._rows.keys() & self._written
            for name in self._written:
                node = tx.get(Node, name)
                if node is not None:
                    self._rows[name] = node
                else:
                    self._rows.pop(name, None)
            if not self._rows.keys() & self._written <= before:
                self._rows = dict(sorted(self._rows.items()))
            self._written = set(mine)
        return self._rows


class KeptTransaction:
    """A pancode.ports.Transaction whose nodes come from memory."""

    def __init__(self, tx: Transaction, kept: KeptNodes) -> None:
        self._tx, self._kept = tx, kept
        self._mine: set[str] = set()

    def get(self, kind: type[R], *key: str | int) -> R | None:
        if kind is not Node:
            return self._tx.get(kind, *key)
        (name,) = key
        return cast("R | None", self._kept.rows(self._tx, self._mine).get(str(name)))

    def find(
        self,
        kind: type[R],
        where: Mapping[str, object] | None = None,
        *,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: Key | None = None,
    ) -> list[R]:
        whole = where is None and order is None and limit is None and after is None and not descending
        if kind is Node and whole:
            return cast("list[R]", list(self._kept.rows(self._tx, self._mine).values()))
        return self._tx.find(kind, where, order=order, descending=descending, limit=limit, after=after)

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[Key]:
        return self._tx.starting(kind, prefix, limit)

    def tally(self, kind: type[Record], grouping: Grouping) -> list[Grouped]:
        return self._tx.tally(kind, grouping)

    def insert(self, record: Record) -> None:
        self._note(record)
        self._tx.insert(record)

    def put(self, record: Record) -> None:
        self._note(record)
        self._tx.put(record)

    def delete(self, kind: type[Record], *key: str | int) -> None:
        if kind is Node:
            self._wrote(str(key[0]))
        self._tx.delete(kind, *key)

    def _note(self, record: Record) -> None:
        if isinstance(record, Node):
            self._wrote(record.name)

    def _wrote(self, name: str) -> None:
        self._mine.add(name)
        self._kept.wrote(name)
