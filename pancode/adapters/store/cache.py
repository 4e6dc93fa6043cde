"""Keeps decoded rows of the one-writer ledger at hand, and forgets them when anybody else has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pancode.domain.records import Record

Key = tuple[Any, ...]
MOST = 4_000
"""Rows of one kind; when there are more, all of that kind are forgotten."""
MOST_SEARCHES, MOST_FOUND = 32, 64
"""Searches of one kind whose answers are kept, and rows in an answer."""


class RowCache:
    """Records by kind and key. Valid only under the ledger's lock, after `check` in each transaction.

    Records are values: nobody changes one, so that all may be given the same.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._rows: dict[type[Record], dict[Key, Record]] = {}
        self._absent: dict[type[Record], set[Key]] = {}
        self._found: dict[type[Record], dict[Key, Sequence[Record]]] = {}
        self._version: int | None = None

    def check(self, version: int) -> None:
        """`version` changes when another connection has written: what we knew is worth nothing then."""
        if version != self._version:
            self.clear()
            self._version = version

    def get(self, kind: type[Record], key: Key) -> Record | None:
        return self._rows.get(kind, {}).get(key)

    def of(self, kind: type[Record]) -> Mapping[Key, Record]:
        """All that is known of that kind at this moment."""
        return self._rows.setdefault(kind, {})

    def put(self, key: Key, record: Record) -> None:
        rows = self._rows.setdefault(type(record), {})
        if len(rows) >= self._most:
            rows.clear()
        rows[key] = record

    def is_absent(self, kind: type[Record], key: Key) -> bool:
        """Whether it was asked for, and is not there."""
        return key in self._absent.get(kind, ())

    def note_absent(self, kind: type[Record], key: Key) -> None:
        absent = self._absent.setdefault(kind, set())
        if len(absent) >= self._most:
            absent.clear()
        absent.add(key)

    def found(self, kind: type[Record], search: Key) -> Sequence[Record] | None:
        """What this search has found, while no row of that kind was written since."""
        return self._found.get(kind, {}).get(search)

    def note_found(self, kind: type[Record], search: Key, records: Sequence[Record]) -> None:
        if len(records) > MOST_FOUND:
            return
        searches = self._found.setdefault(kind, {})
        if len(searches) >= MOST_SEARCHES:
            searches.clear()
        searches[search] = records

    def wrote(self, kind: type[Record], key: Key) -> None:
        """This row was made, changed or deleted."""
        self._found.pop(kind, None)
        self._absent.get(kind, set()).discard(key)

    def drop(self, kind: type[Record], key: Key) -> None:
        """Nothing is known of it any more."""
        self._rows.get(kind, {}).pop(key, None)

    def clear(self) -> None:
        """After a rollback: what was put is not there."""
        for kept in (self._rows, self._absent, self._found):
            kept.clear()
