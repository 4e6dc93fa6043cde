"""How a route is declared: path, method, what it may be asked, and the one function that answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pancode.api.bodies import Body, Empty, parse
from pancode.api.desk import Desk
from pancode.domain.names import nearest
from pancode.errors import UsageError

MAX_BODY = 8 * 1024 * 1024
"""Bytes of a request; the largest task fits several times."""


class Answered(JSONResponse):
    """JSON in ASCII: whatever text a stranger made reaches the reader."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, parsed: names in the path, the query's words, the body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most` of the query; UsageError for anything else."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or int(text) > most:
            raise UsageError(
                f"{name} must be a whole number from 0 to {most}, not {text!r}", code="bad_value"
            )
        return int(text)

    def flag(self, name: str) -> bool:
        return self.query.get(name, "") in ("1", "true", "yes")


Answer = Callable[[Desk, Call], Any]
Stream = Callable[[Desk, Call], "Response"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One route. `pokes`: it changed something that the coordinator should act on at once."""

    method: str
    path: str
    answer: Answer
    body: type[Body] = Empty
    query: tuple[str, ...] = ()
    pokes: bool = False
    status: int = 200

    def route(self, desk: Desk) -> Route:
        async def endpoint(request: Request) -> Response:
            call = await read(request, self.body, self.query)
            answer = await run_in_threadpool(self.answer, desk, call)
            if isinstance(answer, Response):
                return answer
            after = BackgroundTask(desk.poke) if self.pokes else None
            return Answered(answer, self.status, background=after)

        return Route(self.path, endpoint, methods=[self.method])


async def read(request: Request, body: type[Body], query: tuple[str, ...]) -> Call:
    """The request as a Call; UsageError for what it may not hold."""
    for name in request.query_params:
        if name not in query:
            near = nearest(name, query)
            fix = f"did you mean {near}?" if near else f"it knows {', '.join(query) or 'none'}"
            raise UsageError(f"the request has the unknown parameter {name!r}", fix=fix, code="unknown_key")
    data = await _body(request) if request.method != "GET" else {}
    return Call(dict(request.path_params), dict(request.query_params), parse(body, data))


async def _body(request: Request) -> Any:
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY:
            raise UsageError(f"the request is larger than {MAX_BODY} bytes", code="too_large")
    if not raw:
        return {}
    try:
        return json.loads(raw)
    except ValueError as exc:
        raise UsageError("the request is not JSON", why=str(exc), code="bad_json") from exc
