"""The options of lists that have pages, and how a page is asked for."""

from __future__ import annotations

from typing import Annotated, Any

from pancode.cli.parsing.params import option
from pancode.client import Client

Cursor = Annotated[
    str | None, option("Go on where a page ended: `next` of its JSON, with the same filters.", "CURSOR")
]
Whole = Annotated[bool, option("All there are, page by page.", "--all")]
PAGE = 1_000


def page(
    client: Client, path: str, rows: str, limit: int, cursor: str | None, *, whole: bool, **filters: object
) -> dict[str, Any]:
    """The list's answer, its rows under the name `rows`; `next` is there where more follows."""
    most = PAGE if whole else limit
    answer: dict[str, Any] = client.get(path, limit=most, cursor=cursor, **filters)
    while whole and answer["next"] is not None:
        more = client.get(path, limit=most, cursor=answer["next"], **filters)
        answer = {**more, rows: [*answer[rows], *more[rows]]}
    return answer
