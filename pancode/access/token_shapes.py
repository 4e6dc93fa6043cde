"""The JSON of tokens that open the API over TCP."""

from __future__ import annotations

from typing_extensions import TypedDict


class TokenShape(TypedDict):
    """A token that opens the API over TCP. `item`: the one inbox item that it may answer, and its `run`."""

    name: str
    scopes: list[str]
    created_at: str
    created_by: str
    expires_at: str | None
    used_at: str | None
    item: str | None
    run: str | None


class MadeTokenShape(TokenShape):
    """A token that was just made, with its secret, which is told this one time."""

    token: str
