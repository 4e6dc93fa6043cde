"""Caches the nodes and the facts of waiting runs, as every pass reads all of them and writes only a few.

A written row is read again by its key, even if the write was rolled back, so the cache is never ahead of the
ledger. This requires that no other process writes to the ledger. After an outage of the ledger's server,
everything is read again, since another coordinator may have used the ledger meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar, cast

from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import Grouped, Grouping, Key, Ledger, Transaction
from pancode.kernel.records import Action, ActionKind, Node, Record, Run, RunState
from pancode.runs.waiting_runs import WaitingRuns

R = TypeVar("R", bound=Record)


class KeptRows:
    """Wrapper of a pancode.kernel.ports.Ledger: allows one transaction at a time and caches the nodes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, threading.RLock()
        self._nodes: dict[str, Node] | None = None
        """The nodes by name, in the ledger's order; None if not read yet."""
        self._waiting: WaitingRuns | None = None
        self._written: dict[type[Record], set[str]] = {Node: set(), Run: set()}
        """Keys of the rows that may have changed in the ledger since they were read."""
        self._mine: dict[type[Record], set[str]] = {}
        """Keys of the rows that the open transaction has written and may still roll back."""
        self._listeners: list[tuple[Callable[[], None], Collection[ActionKind]]] = []
        self._actions: set[ActionKind] = set()
        """The kinds of the actions that the open transaction has written."""

    def listen(self, listener: Callable[[], None], kinds: Collection[ActionKind]) -> None:
        """Call the listener when an action of these kinds was committed; it must not block."""
        self._listeners.append((listener, kinds))

    def transaction(self) -> AbstractContextManager[Transaction]:
        return self._open_transaction()

    @contextmanager
    def _open_transaction(self) -> Iterator[Transaction]:
        with self._lock:
            try:
                with self._ledger.transaction() as tx:
                    self._mine, self._actions = {Node: set(), Run: set()}, set()
                    yield KeptTransaction(tx, self)
            except UnavailableError:
                self._nodes = self._waiting = None
                raise
            for listener, kinds in self._listeners:
                if not self._actions.isdisjoint(kinds):
                    listener()

    def close(self) -> None:
        self._ledger.close()

    def wrote_action(self, kind: ActionKind) -> None:
        """Note that the open transaction has written an action of this kind."""
        self._actions.add(kind)

    def wrote(self, kind: type[Record], key: str) -> None:
        """Note that the row was written: it is read again until a transaction ends without writing it."""
        if kind in self._written:
            self._mine[kind].add(key)
            self._written[kind].add(key)

    def nodes(self, tx: Transaction) -> dict[str, Node]:
        """Return the nodes as this transaction sees them, by name."""
        if self._nodes is None:
            self._nodes = {node.name: node for node in tx.find(Node)}
        else:
            before = self._nodes.keys() & self._written[Node]
            for name in self._written[Node]:
                node = tx.get(Node, name)
                if node is not None:
                    self._nodes[name] = node
                else:
                    self._nodes.pop(name, None)
            if not self._nodes.keys() & self._written[Node] <= before:
                self._nodes = dict(sorted(self._nodes.items()))
        self._written[Node] = set(self._mine[Node])
        return self._nodes

    def waiting(self, tx: Transaction) -> WaitingRuns:
        """Return the waiting runs as this transaction sees them; the next call may change the result."""
        if self._waiting is None:
            waiting = WaitingRuns()
            for run in tx.find(Run, {"state": RunState.PENDING}):
                waiting.note(run.id, run)
            self._waiting = waiting
        for key in self._written[Run]:
            self._waiting.note(key, tx.get(Run, key))
        self._written[Run] = set(self._mine[Run])
        return self._waiting


class KeptTransaction:
    """A pancode.kernel.ports.Transaction whose nodes come from memory."""

    def __init__(self, tx: Transaction, kept: KeptRows) -> None:
        self._tx, self._kept = tx, kept

    def get(self, kind: type[R], *key: str | int) -> R | None:
        if kind is not Node:
            return self._tx.get(kind, *key)
        (name,) = key
        return cast("R | None", self._kept.nodes(self._tx).get(str(name)))

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
            return cast("list[R]", list(self._kept.nodes(self._tx).values()))
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
        self._kept.wrote(kind, str(key[0]))
        self._tx.delete(kind, *key)

    def _note(self, record: Record) -> None:
        if isinstance(record, Node):
            self._kept.wrote(Node, record.name)
        elif isinstance(record, Run):
            self._kept.wrote(Run, record.id)
        elif isinstance(record, Action):
            self._kept.wrote_action(record.kind)
