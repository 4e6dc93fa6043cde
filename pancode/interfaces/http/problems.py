"""Turns every failure into problem+json (RFC 9457) with a code, a reason, a fix and an exit status."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pancode.kernel.errors import ConflictError, ExitCode, NotFoundError, PancodeError, Problem
from pancode.kernel.threads import ran_out

log = logging.getLogger("pancode.api")


class AsciiJson(JSONResponse):
    """A JSON answer in ASCII, which can contain any untrusted text."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


STATUS: dict[int, int] = {
    ExitCode.USAGE: 400,
    ExitCode.CONFIG: 422,
    ExitCode.NOT_FOUND: 404,
    ExitCode.REFUSED: 409,
    ExitCode.UNAVAILABLE: 503,
    ExitCode.WORKSPACE: 409,
    ExitCode.SIGNATURE: 422,
}


STATUS_OF_CODE: dict[str, int] = {
    **dict.fromkeys(("no_token", "unknown_token", "expired_token", "unknown_code", "used_code"), 401),
    **dict.fromkeys(("wrong_scope", "wrong_item", "wrong_origin", "local_only", "unconfirmed_browser"), 403),
    **dict.fromkeys(("unsigned", "wrong_signature", "stale_webhook"), 403),
    "token_in_query": 400,
    "key_reused": 422,
    "not_json": 415,
    "wrong_host": 421,
    **dict.fromkeys(("too_many_failures", "too_many_webhooks"), 429),
}
"""HTTP status by code, for requests refused over TCP, without a valid signature, or with a reused key."""


def body_of(problem: Problem, status: int) -> dict[str, Any]:
    return {
        "type": f"urn:pancode:error:{problem.code}",
        "title": problem.message,
        "status": status,
        "code": problem.code,
        "message": problem.message,
        "why": problem.why,
        "fix": problem.fix,
        "exit_code": problem.exit_code,
        "retryable": problem.retryable,
        "details": dict(problem.details),
    }


def problem_of(error: BaseException) -> Problem:
    """Return the problem for any failure; if unexpected, the exception's type and where the details are."""
    if isinstance(error, PancodeError):
        return error.problem()
    if isinstance(error, MemoryError):
        ran_out()
    log.error("unforeseen", exc_info=error)
    why = f"{type(error).__name__}: {error}"
    return PancodeError(
        "internal error in PanCode", why=why, fix="see run/coordinator.log in PANCODE_HOME"
    ).problem()


def response_of(error: BaseException) -> Response:
    problem = problem_of(error)
    status = 409 if isinstance(error, ConflictError) else STATUS.get(problem.exit_code, 500)
    status = STATUS_OF_CODE.get(problem.code, status)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "60"}}.get(status)
    return AsciiJson(body_of(problem, status), status, headers, media_type="application/problem+json")


async def on_error(request: Request, error: Exception) -> Response:
    return response_of(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a path or method that does not exist."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    failure = _make_slash_error(request.scope.get("raw_path", b"")) or NotFoundError(
        f"{request.method} {request.url.path} not found",
        why="this coordinator may have a different version",
        fix="pancode node ls",
        code="no_such_route",
    )
    return AsciiJson(body_of(failure.problem(), status), status, media_type="application/problem+json")


def _make_slash_error(raw_path: bytes) -> NotFoundError | None:
    """Return a not-found error for a path that matches no route as a name contains a slash, else None."""
    for part in map(unquote, raw_path.decode("latin-1").split("/")):
        if "/" in part:
            return NotFoundError(
                f"{part!r} not found",
                why="names of runs, nodes and queues cannot contain '/'",
                fix="see: pancode runs, pancode node ls",
                code="no_such_name",
            )
    return None


HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    PancodeError: on_error,
    HTTPException: on_http_error,
    Exception: on_error,
}
