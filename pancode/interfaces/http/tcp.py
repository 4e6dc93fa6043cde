"""The API over TCP: which requests are accepted, with which rights, and how long a stream continues."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pancode.interfaces.client.caller import handed_on
from pancode.interfaces.http.access.request_filter import (
    HOOKS,
    KnockedBy,
    ListenerRules,
    must_have_token,
    parse_bearer,
)
from pancode.interfaces.http.access.tokens import audit_request, check_secret, find_session, still_in_force
from pancode.interfaces.http.bodies import Body, CallerBody, LandBody, has_true
from pancode.interfaces.http.context import LET_IN, ApiContext
from pancode.interfaces.http.problems import HANDLERS, AsciiJson, response_of
from pancode.interfaces.http.routing import ApiCall, TcpAccess, Verb, read_request
from pancode.kernel.values import replace
from pancode.kernel.visitors import (
    AccessError,
    Browser,
    Visitor,
    is_confirmed,
    must_allow,
    must_ask,
    must_be_confirmed,
    must_be_its_item,
    set_asker,
)
from pancode.runs.inbox_answers import list_inbox

VISITOR = "pancode.visitor"
LOOK_S = 5.0
"""A stream whose token was revoked or has expired ends with the first piece after this many seconds."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def make_tcp_app(
    context: ApiContext, verbs: Sequence[Verb], rules: ListenerRules, more: Sequence[BaseRoute] = ()
) -> ASGIApp:
    """Return an ASGI app with all TCP routes. `more`: routes open to any client, such as console files."""
    routes: list[BaseRoute] = [_make_route(verb, context) for verb in verbs]
    app = Starlette(routes=[*routes, *more], exception_handlers=HANDLERS)
    return RequestGuard(app, context, rules, frozenset(v.path for v in verbs if v.over_tcp is TcpAccess.OPEN))


class RequestGuard:
    """Middleware that checks each request before a route gets it, and identifies the caller to the routes."""

    def __init__(
        self, app: ASGIApp, context: ApiContext, rules: ListenerRules, open_paths: frozenset[str]
    ) -> None:
        self._app = app
        self._context = context
        self._rules = rules
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            scope[VISITOR] = await run_in_threadpool(self._identify_visitor, Request(scope))
        except Exception as error:
            await response_of(error)(scope, receive, _add_headers(send))
            return
        if scope[VISITOR].token is not None and LET_IN in scope:
            scope[LET_IN]()
        await self._app(scope, receive, _add_headers(send))

    def _identify_visitor(self, request: Request) -> Visitor:
        """Return the caller. Raises AccessError for a wrong host or origin, or an unknown caller."""
        path, headers = request.url.path, {name.lower(): value for name, value in request.headers.items()}
        self._rules.check(KnockedBy(request.method, path, dict(request.query_params), headers))
        if not path.startswith("/v1/") or path.startswith(HOOKS):
            return Visitor()
        core, client = self._context.core, request.client
        browser = Browser(headers.get("user-agent", ""), client.host if client is not None else "")
        try:
            secret = parse_bearer(headers.get("authorization", ""))
            token = None if secret is None else check_secret(core, secret)
        except AccessError:
            if path not in self._open:
                raise
            token = None  # a browser whose session has ended comes back with a code
        if token is None and path not in self._open:
            raise must_have_token()
        if token is not None and (held := self._context.coordinator.held) is not None:
            held.must_accept(token)
        session = None if token is None else find_session(core, token)
        return Visitor(token, browser, session is not None and is_confirmed(session, core.wall_ms()))


def _add_headers(send: Send) -> Send:
    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return sends


def _make_route(verb: Verb, context: ApiContext) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            # raises KeyError if RequestGuard has not checked the request
            visitor: Visitor = request.scope[VISITOR]
            await run_in_threadpool(_admit, verb, context, dict(request.path_params), visitor)
            call = await read_request(request, verb.body, verb.query)
            answer = await run_in_threadpool(_answer_call, verb, context, replace(call, visitor=visitor))
            if isinstance(answer, StreamingResponse):
                answer.body_iterator = _while_in_force(context, visitor, answer.body_iterator)
            return answer if isinstance(answer, Response) else AsciiJson(answer, verb.status)
        except Exception as error:
            return response_of(error)

    return Route(verb.path, endpoint, methods=[verb.method])


def _answer_call(verb: Verb, context: ApiContext, call: ApiCall) -> Any:
    assert call.visitor is not None
    if verb.method == "GET":
        return verb.answered(context, call)
    with set_asker(call.visitor):
        if call.visitor.token is not None:
            if verb.required_right.confirmed:
                must_be_confirmed(call.visitor, verb.name)
            lands = has_true(call.body, "land") or (verb.lands is not None and verb.lands(context, call))
            must_ask(verb.name, lands, has_true(call.body, "yes"))
            audit_request(context.core, call.visitor.name, verb.name, call.path.get("run"))
        return verb.answered(context, replace(call, body=_sign_body(call.body, call.visitor)))


def _admit(verb: Verb, context: ApiContext, path: Mapping[str, str], visitor: Visitor) -> None:
    """Raise AccessError if the visitor may not send this request; called before the body is read."""
    if verb.over_tcp is TcpAccess.CLOSED:
        raise AccessError(
            f"{verb.name} is not available over TCP",
            why="it is only available on the coordinator's unix socket",
            fix="run the command on the coordinator's machine, or through SSH: ssh HOST pancode ...",
            code="local_only",
        )
    if verb.over_tcp in (TcpAccess.OPEN, TcpAccess.SIGNED):
        return
    token = visitor.token
    if token is None:
        raise must_have_token()
    if token.item is None:
        return must_allow(token, verb.needs, verb.name)
    about = path.get("run", token.run or "") if verb.for_item else ""
    must_be_its_item(token, about, verb.name)
    if "run" in path and all(item["id"] != token.item for item in list_inbox(context.core)):
        why = "the item was already answered, or its run now asks something else"
        raise AccessError(
            f"the inbox item of token {token.name} is no longer pending",
            why=why,
            fix="pancode inbox",
            code="wrong_item",
        )


def _sign_body(body: Any, visitor: Visitor) -> Any:
    """Return the body with the token's owner as its sender, and with the coordinator's environment."""
    changes: dict[str, Any] = {
        name: _sign_body(value, visitor) for name, value in iter(body) if isinstance(value, Body)
    }
    if "by" in type(body).model_fields:
        changes["by"] = visitor.name
    if isinstance(body, LandBody):
        changes["author"] = {}
    if isinstance(body, CallerBody):
        changes["environ"] = handed_on(os.environ)
    return body.model_copy(update=changes)


async def _while_in_force(context: ApiContext, visitor: Visitor, pieces: Any) -> AsyncIterator[Any]:
    """Yield the pieces of a stream until the visitor's token is revoked or expires."""
    clock = asyncio.get_running_loop()
    looked = clock.time()
    async for piece in pieces:
        if visitor.token is not None and clock.time() - looked >= LOOK_S:
            looked = clock.time()
            if not await run_in_threadpool(still_in_force, context.core, visitor.token):
                return
        yield piece
