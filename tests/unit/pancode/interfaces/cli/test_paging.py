"""Lists with pages: one page, the next one by its cursor, all of them."""

from __future__ import annotations

from typing import Any

from pancode.interfaces.cli.parameters import fetch_page
from pancode.kernel.route import Route
from tests.fakes.api import FakeApi


def rows() -> FakeApi:
    """A list of seven rows whose pages have three at most."""

    def some(path: str, query: dict[str, Any]) -> dict[str, Any]:
        begin = int(query["cursor"] or 0)
        end = min(begin + min(3, query["limit"]), 7)
        return {"rows": list(range(begin, end)), "next": str(end) if end < 7 else None}

    return FakeApi({"GET /v1/rows": some})


def asked(api: FakeApi, limit: int, cursor: str | None, *, whole: bool) -> Any:
    return fetch_page(api, Route[Any]("GET /v1/rows"), "rows", limit, cursor, {"node": "n"}, whole=whole)


def test_one_page_says_where_the_next_one_begins() -> None:
    assert asked(rows(), 2, None, whole=False) == {"rows": [0, 1], "next": "2"}
    assert asked(rows(), 2, "5", whole=False) == {"rows": [5, 6], "next": None}


def test_all_pages_are_asked_for_with_the_same_filters() -> None:
    api = rows()
    assert asked(api, 2, "1", whole=True) == {"rows": [1, 2, 3, 4, 5, 6], "next": None}
    assert [(one["cursor"], one["node"]) for _, one in api.asked] == [("1", "n"), ("4", "n")]
