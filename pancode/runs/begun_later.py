"""Decides whether work that begins later may still begin in the name of the token that requested it."""

from __future__ import annotations

from pancode.kernel.errors import RefusedError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import ApiToken
from pancode.kernel.visitors import speaks_for, token_behind


def must_still_speak(
    tx: Transaction, by: str, made_ms: int, what: str, fix: str, now_ms: int | None = None
) -> None:
    """Raise RefusedError if `by` is a token that was revoked after it requested `what`, at `made_ms`.

    `now_ms`: for what begins again and again, which also ends when the token expires; None: for a whole that
    was requested while the token was valid.
    """
    name = token_behind(by)
    if name is None or speaks_for(tx.get(ApiToken, name), made_ms, now_ms):
        return
    raise RefusedError(
        f"the token {name} that requested {what} is no longer valid",
        why="it was revoked" if now_ms is None else "it was revoked or expired",
        fix=fix,
        code="token_over",
    )
