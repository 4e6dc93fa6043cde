"""Routes of tokens, and of browsers that come with a one-time code."""

from __future__ import annotations

from typing import Any

from pancode.api.context import ApiContext
from pancode.api.document.answers import (
    EndedAnswer,
    MadeTokenShape,
    RevokedAnswer,
    TokensAnswer,
    TokenShape,
    WebCodeAnswer,
)
from pancode.api.request.bodies import ActBody
from pancode.api.request.token_bodies import TokenBody, WebCodeBody, WebSessionBody
from pancode.api.routing import ApiCall, AtDoor, Verb
from pancode.domain.access.rights import NOTES, REMOVES, SEES_ALL, SETS_UP
from pancode.domain.access.tokens import CODE_MS
from pancode.domain.records import ApiToken
from pancode.errors import UnavailableError, UsageError


def _tokens(context: ApiContext, call: ApiCall) -> Any:
    return {"tokens": context.plane.tokens.show()}


def _create(context: ApiContext, call: ApiCall) -> Any:
    body: TokenBody = call.body
    return context.plane.tokens.create(body.wanted(), body.by, _token(call))


def _revoke(context: ApiContext, call: ApiCall) -> Any:
    paused = context.plane.tokens.revoke(call.path["token"], call.body.by)
    return {**_tokens(context, call), "paused": paused}


def _code(context: ApiContext, call: ApiCall) -> Any:
    body: WebCodeBody = call.body
    url = context.facts.get("api")
    if url is None:
        why = "; ".join(one["what"] for one in context.closed) or "the setting api.listen is not set"
        raise UnavailableError(
            "the API is not open over TCP, so no browser reaches it",
            why=why,
            fix="set api.listen: 127.0.0.1:7433 in pancode.yaml, then: pancode fleet down, pancode fleet up",
            code="door_closed",
        )
    code = context.plane.tokens.make_code(body.scopes, body.lasts_ms, body.by)
    return {"code": code, "url": f"{url}/#code={code}", "lasts_ms": CODE_MS}


def _session(context: ApiContext, call: ApiCall) -> Any:
    body: WebSessionBody = call.body
    return context.plane.tokens.trade(body.code)


def _own(context: ApiContext, call: ApiCall) -> Any:
    return context.plane.tokens.shape(_must_have(call))


def _end(context: ApiContext, call: ApiCall) -> Any:
    token = _must_have(call)
    context.plane.tokens.revoke(token.name, call.body.by)
    return {"ended": token.name}


def _token(call: ApiCall) -> ApiToken | None:
    return None if call.visitor is None else call.visitor.token


def _must_have(call: ApiCall) -> ApiToken:
    token = _token(call)
    if token is None:
        fix = "ask over TCP, with the token"
        raise UsageError(
            "this connection has no token", why="it is the unix socket", fix=fix, code="no_session"
        )
    return token


TOKEN_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/tokens", _tokens, right=SEES_ALL, answers=TokensAnswer),
    Verb("POST", "/v1/tokens", _create, TokenBody, status=201, right=SETS_UP, answers=MadeTokenShape),
    Verb("POST", "/v1/tokens/{token}/revoke", _revoke, ActBody, right=REMOVES, answers=RevokedAnswer),
    Verb(
        "POST",
        "/v1/web/codes",
        _code,
        WebCodeBody,
        status=201,
        right=SETS_UP,
        at_door=AtDoor.CLOSED,
        answers=WebCodeAnswer,
    ),
    Verb(
        "POST",
        "/v1/web/session",
        _session,
        WebSessionBody,
        status=201,
        right=NOTES,
        at_door=AtDoor.OPEN,
        answers=MadeTokenShape,
    ),
    Verb("GET", "/v1/web/session", _own, for_item=True, answers=TokenShape),
    Verb("POST", "/v1/web/session/end", _end, ActBody, right=NOTES, for_item=True, answers=EndedAnswer),
)
