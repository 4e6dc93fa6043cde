"""Stores requests that have an idempotency key, so that a repeated request is not started twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pancode.interfaces.http.access import store as rows
from pancode.interfaces.http.access.store import KeyedRequest
from pancode.kernel.errors import RefusedError, UsageError
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work

MOST_CHARS = 200
KEPT_MS = 24 * 3_600_000
MOST_KEPT = 10_000
"""How many requests are stored; if there are more, the oldest is deleted."""
ANOTHER = "send each new request with a new Idempotency-Key"


@dataclass(frozen=True, slots=True)
class RequestMark:
    """A request's identity: its caller, key, route with the names in its path, and digest of its body."""

    who: str
    key: str
    route: str
    digest: str

    @property
    def place(self) -> tuple[str, str]:
        return self.who, self.key


def key_of(values: Iterable[str]) -> str:
    """Return the request's key; "" if it has none. Raises UsageError for an invalid key or more than one."""
    keys = list(values)
    if not keys:
        return ""
    plain = keys[0].isascii() and keys[0].isprintable()
    if len(keys) > 1 or not plain or not 1 <= len(keys[0]) <= MOST_CHARS:
        raise UsageError(
            "the Idempotency-Key is not valid",
            why=f"a key must be 1 to {MOST_CHARS} printable ASCII characters, in one header",
            fix="send a UUID",
            code="bad_key",
        )
    return keys[0]


def find_answered(
    row: KeyedRequest | None, mark: RequestMark, at_work: bool, now_ms: int
) -> KeyedRequest | None:
    """Return the earlier request whose answer to repeat; None if the new one may begin. RefusedError."""
    if row is None or (now_ms - row.created_ms >= KEPT_MS and not at_work):
        return None
    if (row.route, row.digest) != (mark.route, mark.digest):
        what = "route" if row.route != mark.route else "body"
        raise RefusedError(
            "this Idempotency-Key was used for another request",
            why=f"the key was sent with another {what} less than 24 hours ago: {row.route}"[:300],
            fix=ANOTHER,
            code="key_reused",
        )
    if at_work:
        raise RefusedError(
            "the request with this Idempotency-Key is still in progress",
            why="the first request arrived a moment ago and is not answered yet",
            fix="send the same request again in a few seconds to get the answer of the first request",
            code="key_at_work",
        )
    if row.status is None:
        raise RefusedError(
            "the effect of the request with this Idempotency-Key is unknown",
            why=(
                "PanCode failed or was stopped before it stored the answer; it did not start the "
                "request again"
            ),
            fix="see: pancode runs, pancode workflow ls; if it is not listed, send it with a new key",
            code="key_outcome_unknown",
        )
    return row


def to_forget(oldest: Iterable[KeyedRequest], count: int, now_ms: int) -> list[KeyedRequest]:
    """Return the oldest rows to delete when another request comes: expired ones, and those over the limit."""
    rows = list(oldest)
    too_many = max(0, count + 1 - MOST_KEPT)
    return [row for place, row in enumerate(rows) if place < too_many or now_ms - row.created_ms >= KEPT_MS]


def begin_request(core: Core, mark: RequestMark) -> KeyedRequest | None:
    """Begin the request and return None, or return an equal earlier one with its answer. RefusedError."""
    now, at_work = core.wall_ms(), core.live.visits.at_work
    with core.lock:
        with unit_of_work(core) as work:
            row = find_answered(work.tx.get(KeyedRequest, *mark.place), mark, mark.place in at_work, now)
            if row is not None:
                return row
            old = to_forget(rows.oldest_requests(work), rows.count_requests(work), now)
            rows.forget_requests(work, [one for one in old if (one.who, one.key) not in at_work])
            work.tx.put(KeyedRequest(mark.who, mark.key, mark.route, mark.digest, now))
        at_work.add(mark.place)
    return None


def store_answer(core: Core, mark: RequestMark, status: int, answer: str) -> None:
    """Store the answer of the request."""
    made = KeyedRequest(mark.who, mark.key, mark.route, mark.digest, core.wall_ms(), status, answer)
    with core.lock:
        try:
            with unit_of_work(core) as work:
                work.tx.put(made)
        finally:
            core.live.visits.at_work.discard(mark.place)


def end_failed(core: Core, mark: RequestMark, refused: bool) -> None:
    """End a failed request. `refused`: the request started nothing, so its key can be used again; else its
    effect is unknown."""
    with core.lock:
        try:
            if refused:
                with unit_of_work(core) as work:
                    rows.forget_requests(work, [KeyedRequest(*mark.place, mark.route, mark.digest, 0)])
        finally:
            core.live.visits.at_work.discard(mark.place)
