"""Reads and writes the rows of tokens."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.control.work import Work
from pancode.domain.records import ApiToken
from pancode.domain.values import replace


def known(work: Work) -> list[ApiToken]:
    """All tokens, by name."""
    return work.tx.find(ApiToken, order="name")


def keep(work: Work, made: ApiToken, stale: Iterable[ApiToken]) -> None:
    """Write a new token, and forget those that nobody can use any more."""
    for token in stale:
        work.tx.delete(ApiToken, token.name)
    work.tx.put(made)


def forget(work: Work, name: str) -> None:
    work.tx.delete(ApiToken, name)


def note_use(work: Work, token: ApiToken, now_ms: int) -> None:
    """Write down when the token was used, unless somebody has revoked it meanwhile."""
    if work.tx.get(ApiToken, token.name) == token:
        work.tx.put(replace(token, used_ms=now_ms))
