"""Reads and writes the rows of tokens, and of requests with an idempotency key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.ports import Grouping
from pancode.kernel.records import ApiToken
from pancode.kernel.rows import Record, Table
from pancode.kernel.values import replace
from pancode.runs.unit_of_work import Work


@dataclass(frozen=True, slots=True)
class KeyedRequest(Record):
    """A request with an idempotency key. The row is written before it begins, and again with its answer."""

    TABLE: ClassVar = Table("keyed_requests", ("who", "key"), ("created_ms",))
    who: str
    """The sender: the owner (`socket`), a token (`token:DIGEST`) or a run (`run:ID`)."""
    key: str
    route: str
    digest: str
    """SHA-256 of the body, hexadecimal."""
    created_ms: int
    status: int | None = None
    """The HTTP status of the answer; None: no answer is stored."""
    answer: str = ""
    """The answer's JSON as it was sent."""


PRUNED = 50
"""How many of the oldest requests are checked for deletion when a new one comes."""


def read_tokens(work: Work) -> list[ApiToken]:
    """Return all tokens, by name."""
    return work.tx.find(ApiToken, order="name")


def store_token(work: Work, made: ApiToken, stale: Iterable[ApiToken]) -> None:
    """Write a new token, and delete the given stale tokens."""
    for token in stale:
        work.tx.delete(ApiToken, token.name)
    work.tx.put(made)


def has_token(work: Work, token: ApiToken) -> bool:
    """Whether the token is stored with this secret."""
    found = work.tx.get(ApiToken, token.name)
    return found is not None and found.digest == token.digest


def note_use(work: Work, token: ApiToken, now_ms: int) -> None:
    """Store that the token was used now, unless it was changed or revoked meanwhile."""
    if work.tx.get(ApiToken, token.name) == token:
        work.tx.put(replace(token, used_ms=now_ms))


def oldest_requests(work: Work) -> list[KeyedRequest]:
    return work.tx.find(KeyedRequest, order="created_ms", limit=PRUNED)


def count_requests(work: Work) -> int:
    return sum(group.count for group in work.tx.tally(KeyedRequest, Grouping(("who",))))


def forget_requests(work: Work, gone: Iterable[KeyedRequest]) -> None:
    for row in gone:
        work.tx.delete(KeyedRequest, row.who, row.key)
