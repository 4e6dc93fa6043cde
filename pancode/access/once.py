"""Decides on a request that carries an idempotency key: begin, answer the same again, or refuse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pancode.core.rows import KeyedRequest
from pancode.errors import RefusedError, UsageError

MOST_CHARS = 200
KEPT_MS = 24 * 3_600_000
MOST_KEPT = 10_000
"""The most requests that are kept; the oldest is forgotten first."""
ANOTHER = "send each new request with a new Idempotency-Key"


@dataclass(frozen=True, slots=True)
class RequestMark:
    """What tells one request from another: its caller, key, route with its names, and digest of its body."""

    who: str
    key: str
    route: str
    digest: str

    @property
    def place(self) -> tuple[str, str]:
        return self.who, self.key


def key_of(values: Iterable[str]) -> str:
    """The key of a request by its headers; empty: it has none. UsageError for one that is no key."""
    keys = list(values)
    if not keys:
        return ""
    plain = keys[0].isascii() and keys[0].isprintable()
    if len(keys) > 1 or not plain or not 1 <= len(keys[0]) <= MOST_CHARS:
        raise UsageError(
            "the Idempotency-Key is none",
            why=f"it is 1 to {MOST_CHARS} printable ASCII characters, in one header",
            fix="send a UUID",
            code="bad_key",
        )
    return keys[0]


def kept(row: KeyedRequest | None, mark: RequestMark, at_work: bool, now_ms: int) -> KeyedRequest | None:
    """The request whose answer is given again; None: it may begin. RefusedError for all else."""
    if row is None or (now_ms - row.created_ms >= KEPT_MS and not at_work):
        return None
    if (row.route, row.digest) != (mark.route, mark.digest):
        what = "route" if row.route != mark.route else "body"
        raise RefusedError(
            "this Idempotency-Key belongs to another request",
            why=f"it came with another {what} less than 24 hours ago: {row.route}"[:300],
            fix=ANOTHER,
            code="key_reused",
        )
    if at_work:
        raise RefusedError(
            "the request with this Idempotency-Key is still at work",
            why="it came a moment ago, and has no answer yet",
            fix="send the same request again in some seconds: it gets the answer of the first",
            code="key_at_work",
        )
    if row.status is None:
        raise RefusedError(
            "nobody knows what the request with this Idempotency-Key has started",
            why="PanCode failed or was ended before its answer was written; it was not begun again",
            fix="look: pancode runs, pancode workflow ls; if it is not there, send it with a new key",
            code="key_outcome_unknown",
        )
    return row


def to_forget(oldest: Iterable[KeyedRequest], count: int, now_ms: int) -> list[KeyedRequest]:
    """The oldest rows to forget: those that are too old, and those beyond the limit when another one
    comes."""
    rows = list(oldest)
    too_many = max(0, count + 1 - MOST_KEPT)
    return [row for place, row in enumerate(rows) if place < too_many or now_ms - row.created_ms >= KEPT_MS]
