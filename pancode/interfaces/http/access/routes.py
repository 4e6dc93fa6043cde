"""API routes for tokens, and for browsers that use a one-time code."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.interfaces.http.access import answers
from pancode.interfaces.http.access.codes import make_code, trade_code
from pancode.interfaces.http.access.rights import NOTES, REMOVES, SEES_ALL, SETS_UP
from pancode.interfaces.http.access.tokens import create, describe_token, left_of, list_tokens, revoke
from pancode.interfaces.http.bodies import ActBody, Body
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, TcpAccess, Verb
from pancode.kernel.errors import UnavailableError, UsageError
from pancode.kernel.records import ApiToken
from pancode.kernel.visitors import BROWSER_MS, CODE_MS, AccessScope, NewToken, Visitor

TokenName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")]
Scopes = Annotated[tuple[AccessScope, ...], Field(min_length=1, max_length=6)]
Lasts = Annotated[int, Field(ge=1_000, le=3_650 * 86_400_000)]


class TokenBody(ActBody):
    """A token to make. `lasts_ms` null: the token never expires. `item`: an inbox item, or the item's run."""

    name: TokenName
    scopes: Scopes = (AccessScope.READ,)
    lasts_ms: Lasts | None = None
    item: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    def wanted(self) -> NewToken:
        scopes = (AccessScope.ANSWER,) if self.item is not None else self.scopes
        return NewToken(self.name, scopes, self.lasts_ms, self.item)


class WebCodeBody(ActBody):
    """A request for a one-time code: which rights the browser that uses the code gets, and for how long."""

    scopes: Scopes = (AccessScope.ADMIN,)
    lasts_ms: Lasts = BROWSER_MS


class WebSessionBody(Body):
    """A request with the one-time code that a browser exchanges for a session."""

    code: Annotated[str, Field(min_length=1, max_length=200)]


@Verb(answers.TOKENS, command="admin tokens", right=SEES_ALL)
def _tokens(context: ApiContext, call: ApiCall) -> answers.TokensAnswer:
    """List all tokens."""
    return {"tokens": list_tokens(context.core)}


@Verb(answers.CREATE_TOKEN, TokenBody, "admin tokens", status=201, right=SETS_UP)
def _create(context: ApiContext, call: ApiCall[TokenBody]) -> answers.MadeTokenShape:
    """Make a token; its secret is shown once."""
    return create(context.core, call.body.wanted(), call.body.by, _find_token(call))


@Verb(answers.REVOKE_TOKEN, ActBody, "admin tokens", right=REMOVES)
def _revoke(context: ApiContext, call: ApiCall[ActBody]) -> answers.RevokedAnswer:
    """Revoke a token, and pause its schedules and pull requests. The tokens that a browser made end too."""
    ended, paused = revoke(context.core, call.path["token"], call.body.by)
    left = [run for name in ended for run in left_of(context.core, name)]
    return {**_tokens(context, call), "ended": ended[1:], "paused": paused, "left": left}


@Verb(answers.WEB_CODE, WebCodeBody, status=201, right=SETS_UP, over_tcp=TcpAccess.CLOSED, when_held=True)
def _make_code(context: ApiContext, call: ApiCall[WebCodeBody]) -> answers.WebCodeAnswer:
    """Make a one-time code that opens the web console."""
    body = call.body
    url = context.facts.get("api") or _open_loopback(context)
    code = make_code(context.core, body.scopes, body.lasts_ms, body.by)
    return {"code": code, "url": f"{url}/#code={code}", "lasts_ms": CODE_MS}


def _open_loopback(context: ApiContext) -> str:
    """Return this browser's loopback address if no setting opens the API on TCP. Raises UnavailableError."""
    trouble = "; ".join(f"{one['what']}: {one['why']}" for one in context.closed)
    fix = next((one["fix"] for one in context.closed), "pancode node ls")
    if context.loopback is not None and context.coordinator.listener is None:
        try:
            return context.loopback()
        except OSError as exc:
            trouble, fix = (
                str(exc),
                ("stop a program that listens on a port of 127.0.0.1 (list: ss -ltnp), then: pancode web"),
            )
    raise UnavailableError(
        "the API is not open on TCP, so browsers cannot connect to it",
        why=trouble,
        fix=fix,
        code="listener_closed",
    )


@Verb("POST /v1/web/session", WebSessionBody, status=201, right=NOTES, over_tcp=TcpAccess.OPEN)
def _trade_code(context: ApiContext, call: ApiCall[WebSessionBody]) -> answers.MadeTokenShape:
    """Exchange a code for a token. A browser with a session keeps it, with a new secret."""
    return trade_code(context.core, call.body.code, call.visitor or Visitor())


@Verb("GET /v1/web/session", for_item=True)
def _get_own_token(context: ApiContext, call: ApiCall) -> answers.TokenShape:
    """Show the token of this request."""
    return describe_token(_must_have(call))


@Verb("POST /v1/web/session/end", ActBody, right=NOTES, for_item=True)
def _end(context: ApiContext, call: ApiCall[ActBody]) -> answers.EndedAnswer:
    """Revoke the token of this request."""
    token = _must_have(call)
    revoke(context.core, token.name, call.body.by)
    return {"ended": token.name}


def _find_token(call: ApiCall) -> ApiToken | None:
    return None if call.visitor is None else call.visitor.token


def _must_have(call: ApiCall) -> ApiToken:
    token = _find_token(call)
    if token is None:
        fix = "send the request over TCP, with the token"
        raise UsageError(
            "this connection has no token",
            why="the request came over the unix socket",
            fix=fix,
            code="no_session",
        )
    return token
