"""Reads one page of a list, newest row first, after a given row; new rows do not shift later pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pancode.kernel.ports import Transaction
from pancode.kernel.rows import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")
CHUNK = 500
ListPlace = tuple[str | int, ...]
"""The place of a row in a list: the value by which the list is ordered, and the row's key."""

MOST_ROWS = 10_000
"""The maximum number of rows in one page of a list."""
MOST_WORKFLOWS = 1_000
"""The maximum number of workflows in one page of a list."""
RUN_FILTERS = ("node", "agent", "outcome", "since", "text", "workflow", "checks")
"""The filters of a list of runs."""


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """Rows of a list. `last`: the place after which more rows may follow; None: the list ends here."""

    rows: list[T]
    last: ListPlace | None


@dataclass(frozen=True, slots=True)
class ListSearch(Generic[R]):
    """What to search for. `order`: a field with a number in every row; rows older than `since` end the list.
    `fits` None: all match. `most`: rows to examine per page, so pages may be short; None: all."""

    kind: type[R]
    order: str
    where: Mapping[str, object] = field(default_factory=dict)
    fits: Callable[[R], bool] | None = None
    since: int | None = None
    most: int | None = None


def read_page(tx: Transaction, search: ListSearch[R], limit: int, after: ListPlace | None) -> ListPage[R]:
    """Return at most `limit` matching rows after this place."""
    found, last = list[R](), after
    for looked, row in enumerate(_read_rows(tx, search, limit, after), 1):
        if search.since is not None and getattr(row, search.order) < search.since:
            break
        fits = search.fits is None or search.fits(row)
        if fits and len(found) == limit:
            return ListPage(found, last)
        if fits:
            found.append(row)
            last = _place(row, search.order)
        if looked == search.most:
            return ListPage(found, _place(row, search.order))
    return ListPage(found, None)


def _read_rows(tx: Transaction, search: ListSearch[R], limit: int, after: ListPlace | None) -> Iterator[R]:
    """Yield the rows after this place; if most rows match, read no more at once than the page needs."""
    size = limit + 1 if search.most is None else CHUNK
    while True:
        rows = tx.find(
            search.kind, search.where, order=search.order, descending=True, limit=size, after=after
        )
        yield from rows
        if len(rows) < size:
            return
        after = _place(rows[-1], search.order)


def _place(row: Record, order: str) -> ListPlace:
    return (getattr(row, order), *(getattr(row, name) for name in row.TABLE.key))
