"""Keeps decoded rows of the one-writer ledger at hand, and forgets them when anybody else has written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pancode.domain.records import Record

Key = tuple[Any, ...]
MOST = 4_000
"""Rows of one kind; when there are more, all of that kind are forgotten."""


class RowCache:
    """Records by kind and key. Valid only under the ledger's lock, after `check` in each transaction.

    Records are values: nobody changes one, so that all may be given the same.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._rows: dict[type[Record], dict[Key, Record]] = {}
        self._version: int | None = None

    def check(self, version: int) -> None:
        """`version` changes when another connection has written: what we knew is worth nothing then."""
        if version != self._version:
            self._rows.clear()
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

    def drop(self, kind: type[Record], key: Key) -> None:
        self._rows.get(kind, {}).pop(key, None)

    def clear(self) -> None:
        """After a rollback: what was put is not there."""
        self._rows.clear()
