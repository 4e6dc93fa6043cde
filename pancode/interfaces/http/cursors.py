"""Parses and makes cursors, which mark where a list's next page begins; clients do not interpret them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pancode.kernel.errors import UsageError
from pancode.kernel.pages import ListPlace

PAGED = ("limit", "cursor")
"""The parameters of a paged list."""
_MOST_CHARS, _MOST_NUMBER = 600, 2**53


class Cursors:
    """The cursors of one list with one set of filters. `key`: the type of the rows' key, which a cursor
    contains together with the order number."""

    def __init__(self, query: Mapping[str, str], name: str, key: type[int] | type[str] = str) -> None:
        filters = {word: value for word, value in query.items() if word not in PAGED}
        text = json.dumps([name, filters], sort_keys=True)
        self._of = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._kinds = (int, key)
        self._text = query.get("cursor")

    def after(self) -> ListPlace | None:
        """Return the row before the page; None for the first page. UsageError for an invalid cursor."""
        if self._text is None:
            return None
        cursor = _read(self._text)
        if not isinstance(cursor, list) or len(cursor) != 3 or not _is_place(cursor[1:], self._kinds):
            raise _make_cursor_error("it is not a `next` value of a list")
        if cursor[0] != self._of:
            raise _make_cursor_error("the cursor belongs to another list, or to other filters")
        return cursor[1], cursor[2]

    def next(self, last: ListPlace | None) -> str | None:
        """Return the cursor of the next page; None if the list has ended."""
        if last is None:
            return None
        cursor = json.dumps([self._of, *last], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(cursor).decode().rstrip("=")


def _read(text: str) -> Any:
    """Return the decoded cursor; None if it is invalid."""
    if len(text) > _MOST_CHARS:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        return json.loads(data)
    except (binascii.Error, ValueError, RecursionError):
        return None


def _is_place(values: list[Any], kinds: tuple[type, ...]) -> bool:
    """Whether the values have exactly these types (a bool is not a number) and can occur in a row."""
    return all(type(value) is kind and _is_plain(value) for value, kind in zip(values, kinds, strict=True))


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isprintable()
    return isinstance(value, int) and abs(value) <= _MOST_NUMBER


def _make_cursor_error(why: str) -> UsageError:
    return UsageError(
        "the cursor is not valid here",
        why=why,
        fix="omit cursor to start at the first page",
        code="bad_cursor",
    )
