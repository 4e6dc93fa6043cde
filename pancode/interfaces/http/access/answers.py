"""The types with which the API shows tokens."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class TokenShape(TypedDict):
    """A token for the API over TCP. `item`: the only inbox item that it may answer, and its `run`. `agent`,
    `address`, `confirmed_at`: the browser that has it, and when that last opened a one-time link."""

    name: str
    scopes: list[str]
    created_at: str
    created_by: str
    expires_at: str | None
    used_at: str | None
    item: str | None
    run: str | None
    agent: str | None
    address: str | None
    confirmed_at: str | None


class MadeTokenShape(TokenShape):
    """A token that was just made, with its secret, which is shown only this time."""

    token: str


class TokensAnswer(TypedDict):
    tokens: list[TokenShape]


class RevokedAnswer(TokensAnswer):
    """The tokens that remain after a revocation. `ended`: tokens that the revoked browser had made. `paused`:
    schedules, and pull requests by id, that the token created or followed. `left`: runs and workflows that it
    started, which continue."""

    ended: list[str]
    paused: list[str]
    left: list[str]


class WebCodeAnswer(TypedDict):
    code: str
    url: str
    lasts_ms: int


class EndedAnswer(TypedDict):
    ended: str


TOKENS = Route[TokensAnswer]("GET /v1/tokens")
CREATE_TOKEN = Route[MadeTokenShape]("POST /v1/tokens")
REVOKE_TOKEN = Route[RevokedAnswer]("POST /v1/tokens/{token}/revoke")
WEB_CODE = Route[WebCodeAnswer]("POST /v1/web/codes")
