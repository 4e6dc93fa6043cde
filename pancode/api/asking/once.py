"""Answers a request with an idempotency key: begun once, and told the same again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from pancode.access.keyed import answered, begin, failed
from pancode.access.once import RequestMark
from pancode.api.context import ApiContext
from pancode.api.problems import AsciiJson, response_of
from pancode.api.request.bodies import Body
from pancode.errors import PancodeError

REPLAYED = "Idempotency-Replayed"
log = logging.getLogger("pancode.api")


def mark_of(who: str, key: str, route: str, body: Body) -> RequestMark:
    """By what the caller said, without what was left out: a later version knows more keys."""
    sent = body.model_dump(mode="json", exclude_unset=True)
    digest = hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
    return RequestMark(who, key, route, digest)


def once(context: ApiContext, mark: RequestMark, status: int, act: Callable[[], Any]) -> Any:
    """The answer of `act`, or a Response with that of the first request with this key. RefusedError."""
    kept = begin(context.core, mark)
    if kept is not None:
        headers = {REPLAYED: "true"}
        return Response(kept.answer, kept.status or status, headers, media_type="application/json")
    try:
        answer = act()
        text = bytes(AsciiJson(_kept(answer), status).body).decode()
    except BaseException as error:
        refused = _is_refusal(error)
        _after(lambda: failed(context.core, mark, refused))
        raise
    _after(lambda: answered(context.core, mark, status, text))
    return answer


def _kept(answer: Any) -> Any:
    """Without a secret, which is told once and not written down with requests."""
    return {**answer, "secret": None} if isinstance(answer, dict) and "secret" in answer else answer


def _is_refusal(error: BaseException) -> bool:
    """Whether it was refused, so that nothing was begun; anything else may have failed half way."""
    return isinstance(error, PancodeError) and response_of(error).status_code < 500


def _after(note: Callable[[], None]) -> None:
    """What has happened stands, and is told, even where the ledger cannot note it just now."""
    try:
        note()
    except PancodeError:
        log.exception("the answer to a request with a key was not kept; it is refused as unknown from now on")
