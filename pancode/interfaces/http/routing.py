"""Declares routes at their handler functions, with path, method, body, parameters, rights and command."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from types import ModuleType
from typing import Any, Generic, get_type_hints
from urllib.parse import quote, unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Address
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from typing_extensions import TypedDict, TypeVar

from pancode.interfaces.http.access.idempotency import (
    RequestMark,
    begin_request,
    end_failed,
    key_of,
    store_answer,
)
from pancode.interfaces.http.access.rights import ANSWERS, APPROVES, DISPATCHES, NOTES, READS, REMOVES, Right
from pancode.interfaces.http.access.run_rights import refuse_act, run_of
from pancode.interfaces.http.bodies import Body, Empty, SignedBody, bytes_of, parse_body
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.problems import AsciiJson, response_of
from pancode.kernel.declared import to_json
from pancode.kernel.errors import PancodeError, RefusedError, UsageError
from pancode.kernel.names import LAST, find_nearest
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.kernel.visitors import AccessScope, Risk, Visitor, set_asker
from pancode.runs.views import newer_elsewhere

REPLAYED = "Idempotency-Replayed"
log = logging.getLogger("pancode.api")


def mark_of(who: str, key: str, route: str, body: Body) -> RequestMark:
    """Return the request's mark. Keys absent from the body do not count: a later version may add keys."""
    sent = body.model_dump(mode="json", exclude_unset=True)
    digest = hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
    return RequestMark(who, key, route, digest)


def answer_once(context: ApiContext, mark: RequestMark, status: int, act: Callable[[], Any]) -> Any:
    """Return the answer of `act`, or a Response with the stored answer of the first request with this key.
    Raises RefusedError."""
    kept = begin_request(context.core, mark)
    if kept is not None:
        headers = {REPLAYED: "true"}
        return Response(kept.answer, kept.status or status, headers, media_type="application/json")
    try:
        answer = act()
        text = bytes(AsciiJson(_drop_secret(answer), status).body).decode()
    except BaseException as error:
        # A refused request has started nothing; any other failed request may have had part of its effect.
        refused = isinstance(error, PancodeError) and response_of(error).status_code < 500
        _try_note(lambda: end_failed(context.core, mark, refused))
        raise
    _try_note(lambda: store_answer(context.core, mark, status, text))
    return answer


def _drop_secret(answer: Any) -> Any:
    """Return the answer without its secret, which is shown once and not stored."""
    return {**answer, "secret": None} if isinstance(answer, dict) and "secret" in answer else answer


def _try_note(note: Callable[[], None]) -> None:
    """Call `note`; if the ledger cannot be written, log that, because the answer is sent anyway."""
    try:
        note()
    except PancodeError:
        log.exception(
            "could not store the answer to a request with a key; a repeat of the request will be refused"
        )


MAX_BODY = 8 * 1024 * 1024
"""The maximum size of a request in bytes, which is several times the size of the largest task."""
MAX_DEPTH = 20
PROGRAM = "pancode-program"
"""The header of requests by `pancode mcp` and `pancode acp`, whose callers are models."""
FOLDER = "pancode-folder"
"""The header with the user's current folder, percent-encoded."""
NOTE = "pancode-note"
"""The header of an answer with a note for the user, percent-encoded."""
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", "")


B_co = TypeVar("B_co", covariant=True, default=Any)


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[B_co]):
    """One parsed request: the names in its path, its query parameters and its body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: B_co
    last_event: str = ""
    """The id of the last event that the client received, which a browser sends when it reconnects."""
    inside: Run | None = None
    """The run that sent the request; None: a user sent it, or, for a `GET`, the sender is unknown."""
    visitor: Visitor | None = None
    """The visitor who sent the request over TCP; None: it came over the unix socket."""
    key: str = ""
    """The request's idempotency key, or empty."""
    folder: str = ""
    """The user's current folder; empty: unknown."""
    is_program: bool = False
    """Whether a model's program sent it through PanCode's server for such programs."""

    @property
    def who(self) -> str:
        """Return the sender to which the idempotency key belongs: the socket's user, a token or a run."""
        if self.visitor is not None and self.visitor.token is not None:
            return f"token:{self.visitor.token.digest}"
        return "socket" if self.inside is None else f"run:{self.inside.id}"

    def number(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 0 to `most` from the query. Raises UsageError for any other value."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) > most:
            raise UsageError(
                f"{name} must be a whole number from 0 to {most}, not {text[:40]!r}",
                fix=f"omit {name} to use {default}",
                code="bad_value",
            )
        return int(text)

    def flag(self, name: str) -> bool:
        """Whether the query parameter is true. UsageError for a value that is neither true nor false."""
        word = self.query.get(name, "0")
        if word not in (*_YES, *_NO):
            fix = f"write {', '.join((*_YES, *_NO))}"
            raise UsageError(f"{name} must be yes or no, not {word[:40]!r}", fix=fix, code="bad_value")
        return word in _YES


class TcpAccess(Enum):
    """Who may call a route over TCP: holders of a token, senders of signed requests, anyone, or no one."""

    TOKEN = "token"
    SIGNED = "signed"
    OPEN = "open"
    CLOSED = "closed"


B = TypeVar("B", bound=Body, default=Any)
R = TypeVar("R", default=Any)
Answer = Callable[[ApiContext, ApiCall[B]], R]
Object = dict[str, Any]
"""A JSON object whose keys may change."""


class RemovedAnswer(TypedDict):
    removed: str


class Octets(Response):
    """The answer of a route that sends bytes."""

    media_type = "application/octet-stream"


class EventStream(StreamingResponse):
    """The answer of a route that sends server-sent events."""


@dataclass(frozen=True, slots=True)
class Verb(Generic[B]):
    """One route, such as `GET /v1/runs`, and the command that uses it (empty: no command).

    It decorates the handler function, whose docstring begins with the purpose of the route, and whose return
    type is the shape of the answer. `pokes`: it makes a change that the coordinator should act on at once.
    `for_runs`: a run may also call it (as every `GET`). `for_item`: a token of one inbox item may too.
    `over_tcp`: who may call it over TCP. `right` None: a `GET` needs the right to read, others the highest
    right.
    """

    name: str
    body: type[B] | type[Empty] = Empty
    command: str = ""
    query: tuple[str, ...] = ()
    pokes: bool = False
    status: int = 200
    for_runs: bool = False
    right: Right | None = None
    for_item: bool = False
    over_tcp: TcpAccess = TcpAccess.TOKEN
    starts: bool = False
    """Whether it begins work although it dispatches nothing."""
    lands: Callable[[ApiContext, ApiCall], bool] | None = None
    """Returns whether the work that the route repeats lands its change; None: the request body says so."""
    asks_who: bool = False
    """Whether it is a `GET` that shows a run less than a user."""
    when_held: bool = False
    """Whether a coordinator that does not lead its fleet also carries it out, as each `GET`."""
    answer: Answer[B] = field(default=lambda context, call: None, repr=False)

    def __call__(self, answer: Answer[B, R]) -> Answer[B, R]:
        vars(answer)["verb"] = replace(self, answer=answer)
        return answer

    @property
    def method(self) -> str:
        return self.name.split(" ")[0]

    @property
    def path(self) -> str:
        return self.name.split(" ")[1]

    @property
    def what(self) -> str:
        """Return the route's purpose as a phrase that fits inside a sentence."""
        words = " ".join((self.answer.__doc__ or "").split("\n\n")[0].split())
        return words[0].lower() + words[1:].removesuffix(".")

    @property
    def answers(self) -> Any:
        """Return the type of the answer; `Octets` or `EventStream` if it is not JSON."""
        return get_type_hints(self.answer)["return"]

    @property
    def needs(self) -> AccessScope:
        """Return the scope that a token needs for this route."""
        return self.required_right.scope

    @property
    def risk(self) -> Risk:
        """Return the risk of this route's effect."""
        return self.required_right.risk

    @property
    def takes_key(self) -> bool:
        """Whether the route accepts an idempotency key, so that a repeated request is carried out once."""
        return self.starts or (
            self.over_tcp is TcpAccess.TOKEN and self.right in (DISPATCHES, ANSWERS, APPROVES)
        )

    @property
    def required_right(self) -> Right:
        """Return the right that a token needs for this route."""
        return self.right or (READS if self.method == "GET" else REMOVES)

    def route(self, context: ApiContext) -> Route:
        """Return the route for the unix socket, where the operating system identifies the caller."""

        async def endpoint(request: Request) -> Response:
            try:
                call = await read_request(request, self.body, self.query)
                answer, note = await run_in_threadpool(self._carry_out, context, call, request.client)
                response = answer if isinstance(answer, Response) else AsciiJson(answer, self.status)
                response.headers.update({NOTE: quote(note)} if note else {})
                return response
            # this handler runs before the server's own, whose error response has no code, reason and fix
            except Exception as error:
                return response_of(error)

        return Route(self.path, endpoint, methods=[self.method])

    def answered(self, context: ApiContext, call: ApiCall) -> Any:
        """Answer a caller whose rights have been checked. HeldError or FencedError for an act of a
        coordinator that does not lead its fleet."""
        held = context.coordinator.held
        if held is not None and not (self.method == "GET" or self.when_held or self.right is NOTES):
            raise held.refuse()
        if call.key and self.takes_key:
            mark = mark_of(call.who, call.key, f"{self.method} {self.path.format(**call.path)}", call.body)
            answer = answer_once(context, mark, self.status, lambda: self._answer(context, call))
        else:
            answer = self._answer(context, call)
        if self.pokes and not isinstance(answer, Response):
            context.poke()
        return answer

    def _answer(self, context: ApiContext, call: ApiCall) -> Any:
        answer = self.answer(context, call)
        return to_json(answer) if is_dataclass(answer) else answer

    def _carry_out(self, context: ApiContext, call: ApiCall, caller: Address | None) -> tuple[Any, str]:
        """Return the answer and a note for the user (or an empty text). Raises InsideRunError for a run that
        requests more than it may.

        Acts on the change in this thread, because the caller would have to wait for another thread anyway.
        """
        here = f"{LAST}@{call.folder}"
        held = context.coordinator.held
        note = newer_elsewhere(context.core, call.folder) if here in call.path.values() else ""
        note = note if held is None else f"{held.refuse().words}; to continue: {held.fix}"
        if self.method == "GET" and not self.asks_who:
            return self.answered(context, call), note
        run = _find_calling_run(context, caller)
        if run is not None and not self.for_runs and self.method != "GET":
            refuse_act(context.core, run, self.name)
        with set_asker(Visitor(is_program=True) if call.is_program else None):
            return self.answered(context, replace(call, inside=run)), note


def verbs_of(module: ModuleType) -> list[Verb]:
    """Return the routes that a module declares, in the order of declaration."""
    found = [one for one in vars(module).values() if getattr(one, "__module__", "") == module.__name__]
    return [one.verb for one in found if hasattr(one, "verb")]


def _find_calling_run(context: ApiContext, caller: Address | None) -> Run | None:
    """Return the calling process's run or None. `caller`, from `serve`: start time as host, pid as port."""
    if caller is None:
        return None
    attempts = context.coordinator.attempts_of(caller.port, caller.host)
    if attempts is None:
        raise RefusedError(
            "cannot check permissions: the process that sent the request has exited",
            fix="send the request again, and wait for the answer",
            code="caller_gone",
        )
    return run_of(context.core.ports.ledger, attempts)


async def read_request(request: Request, body: type[Body], query: tuple[str, ...]) -> ApiCall:
    """Return the request as an ApiCall. Raises UsageError for invalid content."""
    if request.scope["http_version"] == "1.1" and not request.headers.get("host"):
        raise UsageError(
            "the request has no Host header", fix="send the header Host: pancode", code="no_host"
        )
    check_texts([dict(request.path_params), dict(request.query_params)])
    for name in request.query_params:
        if name not in query:
            near = find_nearest(name, query)
            fix = f"did you mean {near}?" if near else f"it knows {', '.join(query) or 'none'}"
            raise UsageError(f"the request has the unknown parameter {name!r}", fix=fix, code="unknown_key")
    if body is SignedBody:
        return ApiCall(dict(request.path_params), {}, await SignedBody.of(request))
    data = await _read_body(request) if request.method != "GET" else {}
    check_texts(data)
    last, key = request.headers.get("last-event-id", ""), key_of(request.headers.getlist("idempotency-key"))
    folder = unquote(request.headers.get(FOLDER, ""))
    path, named = (_seen_from(folder, names) for names in (request.path_params, request.query_params))
    is_program = PROGRAM in request.headers
    return ApiCall(path, named, parse_body(body, data), last, key=key, folder=folder, is_program=is_program)


def _seen_from(folder: str, names: Mapping[str, str]) -> dict[str, str]:
    """Replace `last` by the last run of the repository around the user's folder, in the names of a path."""
    return {
        name: f"{LAST}@{folder}" if folder and value == LAST and name in ("run", "before") else value
        for name, value in names.items()
    }


async def _read_body(request: Request) -> Any:
    raw = await bytes_of(request, MAX_BODY)
    if not raw:
        return {}
    try:
        return json.loads(raw)
    except RecursionError as exc:
        raise _make_nesting_error() from exc
    except ValueError as exc:
        fix = "send one JSON object, in UTF-8"
        raise UsageError("the request is not JSON", why=str(exc)[:300], fix=fix, code="bad_json") from exc


def _make_nesting_error() -> UsageError:
    fix = f"send JSON with at most {MAX_DEPTH} levels"
    return UsageError("the request is nested too deeply", fix=fix, code="bad_json")


def check_texts(data: Any) -> None:
    """Raise UsageError for deep nesting, and text invalid in file names, command lines or databases."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _make_nesting_error()
        for text in level:
            if isinstance(text, str) and not _is_plain(text):
                raise UsageError(
                    f"the request contains invalid text: {text[:80]!r}",
                    why="the text contains a NUL character or half of a surrogate pair",
                    fix="remove it from the text",
                    code="bad_text",
                )
        level = [inner for one in level for inner in _inside_of(one)]


def _inside_of(data: Any) -> Iterable[Any]:
    if isinstance(data, dict):
        return (*data, *data.values())
    return data if isinstance(data, list) else ()


def _is_plain(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
