"""Keeps the newest ended runs and the sums of their records, so that a decision reads no ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pancode.account.track_records import TrackRecord, WorkKey, key_of, record_of
from pancode.core.records import EndedRun

LOOKED_AT = 5_000
"""How many of the newest ended runs count: models and agents change, so old evidence says little."""


class RecentRuns:
    """One owner writes; `sums` is a value of its own, that nobody changes."""

    def __init__(self, rows: Iterable[EndedRun], most: int = LOOKED_AT) -> None:
        """`rows`: oldest first."""
        self._most, self._rows = most, dict[str, EndedRun]()
        self._sums: dict[WorkKey, TrackRecord] = {}
        for row in rows:
            self.note(row)

    @property
    def sums(self) -> Mapping[WorkKey, TrackRecord]:
        return dict(self._sums)

    def note(self, row: EndedRun) -> None:
        """It has ended, or something of it is known better now."""
        self._add(self._rows.get(row.run), sign=-1)
        self._rows[row.run] = row
        self._add(row, sign=1)
        if len(self._rows) > self._most:
            self._add(self._rows.pop(next(iter(self._rows))), sign=-1)

    def _add(self, row: EndedRun | None, sign: int) -> None:
        record = record_of(row) if row is not None else None
        if row is None or record is None:
            return
        key = key_of(row)
        left = self._sums.get(key, TrackRecord()) + (record if sign > 0 else -record)
        if left.runs:
            self._sums[key] = left
        else:
            self._sums.pop(key, None)
