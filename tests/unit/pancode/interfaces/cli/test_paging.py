"""Lists with pages: one page, the next one by its cursor, all of them."""

from __future__ import annotations

from typing import Any, cast

from pancode.interfaces.cli.parameters import page
from pancode.interfaces.client.client import Client


class Rows:
    """A list of seven rows whose pages have three at most."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def get(self, path: str, **query: Any) -> Any:
        self.asked.append(query)
        begin = int(query["cursor"] or 0)
        end = min(begin + min(3, query["limit"]), 7)
        return {"rows": list(range(begin, end)), "next": str(end) if end < 7 else None}


def asked(rows: Rows, limit: int, cursor: str | None, *, whole: bool) -> Any:
    return page(cast("Client", rows), "/v1/rows", "rows", limit, cursor, whole=whole, node="n")


def test_one_page_says_where_the_next_one_begins() -> None:
    assert asked(Rows(), 2, None, whole=False) == {"rows": [0, 1], "next": "2"}
    assert asked(Rows(), 2, "5", whole=False) == {"rows": [5, 6], "next": None}


def test_all_pages_are_asked_for_with_the_same_filters() -> None:
    rows = Rows()
    assert asked(rows, 2, "1", whole=True) == {"rows": [1, 2, 3, 4, 5, 6], "next": None}
    assert [(one["cursor"], one["node"]) for one in rows.asked] == [("1", "n"), ("4", "n")]
