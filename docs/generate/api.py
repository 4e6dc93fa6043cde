"""Writes the page of the HTTP API: every route, and every key of every request."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.generate.markdown import bases, block, code, listed, page, remarks, table, told, words
from docs.generate.meanings import HAPPENED
from docs.generate.shapes import is_shape
from pancode.app.http_routes import VERBS
from pancode.interfaces.http import bodies
from pancode.interfaces.http.access.idempotency import KEPT_MS, MOST_CHARS, MOST_KEPT
from pancode.interfaces.http.bodies import SignedBody
from pancode.interfaces.http.problems import STATUS
from pancode.interfaces.http.routing import MAX_BODY, EventStream, Octets, TcpAccess, Verb
from pancode.kernel.records import EventKind
from pancode.runs.live import MOST

INTRO = """
Every command is a client of these routes. They are served as HTTP/1.1 on a unix socket of mode 0600 in
the home of the coordinator: `api.sock`. Whoever may open the socket is the owner. A request from inside a
run is known by its process, whatever it says, and may only look, and dispatch what is then its child
(*runs*).

Where the setting `api.listen` names an address, the same routes are served there over TCP, to
[whoever has a token](../howto/api.md): *scope* is what the token must allow, *risk* what a request may bring
about. `anybody` needs no token, `signature` needs [a signed body](../howto/schedules.md#on-a-webhook)
instead, `unix socket` is not answered over TCP. A token of one inbox item may use what is marked *item*.
Programs find all of this in the OpenAPI document that `GET /v1/openapi.json` returns.
"""
TRY = """
$ pancode fleet up
...online...
$ cat > ask.py <<'END'
> import http.client, os, socket, sys
> class Api(http.client.HTTPConnection):
>     def connect(self):
>         self.sock = socket.socket(socket.AF_UNIX)
>         self.sock.connect(os.path.expanduser("~/.pancode/api.sock"))
> api = Api("localhost")
> api.request(sys.argv[1], sys.argv[2], *sys.argv[3:])
> answer = api.getresponse()
> print(answer.status, answer.read().decode())
> END
$ python3 ask.py POST /v1/runs '{"argv": ["uname", "-s"], "runtime": "shell", "workspace": "none"}'
201 {"run":...
$ python3 ask.py GET '/v1/runs?limit=1'
200 {"runs":[{"run":...
$ python3 ask.py GET '/v1/runs?limt=1'
400 {..."code":"unknown_key"..."fix":"did you mean limit?"...
"""
HOW = """
Bodies are JSON objects, read strictly: a key or a parameter that does not exist is an error with the
nearest one. `by` is who asks, as the record has it. Times are in milliseconds, money is a decimal
string in USD. An answer is one JSON object of [these](json.md#objects), in ASCII, but for logs and
patches.
"""
ONCE = f"""
Routes with *key* begin work. Sent with the header `Idempotency-Key` (1 to {MOST_CHARS} printable ASCII
characters, such as a UUID), such a request begins once: the same request with the same key is answered
with the status and the body of the first one, and `Idempotency-Replayed: true`. Keys are kept for
{KEPT_MS // 3_600_000} hours, over restarts too (the newest {MOST_KEPT:,}), and belong to their caller:
the owner, one token, or one run. With another body or route the key is refused with 422 (`key_reused`).
While the first request is at work, the answer is 409 (`key_at_work`): send it again later. A request that
was refused (4xx) has begun nothing, and its key may be used again. The key is written before the work
begins and the answer after it, each for itself. Where PanCode fails or is killed in between, nobody knows
what has begun: the key is refused with 409 (`key_outcome_unknown`), and nothing is begun a second time.
Look, and send it with a new key if it is not there. Other routes take no notice of the header.
"""
PAGES = """
Lists with the parameter `cursor` have pages: `limit` rows at most, newest first, and in `next` the cursor
of the next page, or null where the list ends. Ask for it with `cursor` and the same filters. Rows that
come in meanwhile move no page and are in none. A page of a filter may be short, or empty, and still have
a next one: at most 10,000 runs are looked through for one. A cursor is opaque; one of another list or of
other filters is refused with 400 (`bad_cursor`). Events have numbers instead: `since`.
"""
STREAMS = """
`text/event-stream`. A long call gives `progress` for each step, then `result` or `problem`. A run that
is followed gives `run` each time it has changed; the last one has the state `ended`. A log that is
followed gives `attempt`, `log` (`b64` the bytes, `next` where the next piece begins; also the event's
`id`) and `end`. Whoever comes back with `attempt` and `offset` misses and repeats nothing. A comment
every ten seconds tells a quiet run from a dead coordinator. With `shown`, the text
for users replaces a program's events, and `offset` counts its bytes. Otherwise a log is bytes, and the
headers `Pancode-Attempt`, `Pancode-Next` and `Pancode-State` (`more`, `open`, `end`) say how to continue;
`Pancode-Lines-Before` counts the lines before the end that `last` asked for (`unknown`: over 16 MiB).
"""
FEED = f"""
`GET /v1/events` is the feed: what happens in the fleet, each with its number as the event's `id`. It begins
with what comes next; `tail` sends so many of the newest first, and `end=1` stops after them. `kind` takes
one kind, several with commas, or what stands before the dot; `run` and `node` narrow it. Whoever comes back
with the header `Last-Event-ID` (or `since`) gets all that came after; where that is not known any more (the
newest {MOST:,} are kept, and a ledger from a backup knows none of those it has lost) the first event is
`reset`: read everything again, then continue. An event is written in the transaction that it tells of, so
none is told that did not happen, and none is left out.
"""
PROBLEM = f"""
An error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, and as [every
error](exit-codes.md#errors) `code`, `message`, `why`, `fix`, `exit_code`, `retryable`, `details`. A
body has {MAX_BODY >> 20} MiB at most.
"""


def api_page() -> str:
    asked = {verb.body for verb in VERBS} - {bodies.Empty, SignedBody}
    used = sorted({one for body in asked for one in _with_inner(body)}, key=lambda body: body.__name__)
    parts: list[str] = []
    for area, verbs in groupby(sorted(VERBS, key=_place), key=_area):
        parts += [
            f"### {area}",
            table(("Route", "What", "Query", "Body", "Answer", "Scope", "Risk", "Runs"), map(_row, verbs)),
        ]
    return page(
        "HTTP API",
        "the routes of `pancode`",
        words(INTRO),
        block(TRY, "console run=local"),
        words(HOW),
        "## Routes",
        *parts,
        "### Begin once",
        words(ONCE),
        "### Pages",
        words(PAGES),
        "## Events",
        words(STREAMS),
        words(FEED),
        table(("Kind", "Meaning"), [(code(kind), HAPPENED[kind]) for kind in EventKind]),
        "## Bodies",
        *(part for body in used for part in _body(body) if part),
        "## Errors",
        words(PROBLEM),
        table(("Status", "Exit status"), [(str(s), f"`{int(e)}`") for e, s in STATUS.items()]),
        "A clash of two at once is 409 as well; everything else that fails is 500.",
    )


def _place(verb: Verb) -> int:
    """Of its area among the areas, as they come."""
    return [_area(one) for one in VERBS].index(_area(verb))


def _area(verb: Verb) -> str:
    return verb.path.split("/")[2].capitalize()


def _row(verb: Verb) -> tuple[str, ...]:
    asked = f" (`pancode {verb.command}`)" if verb.command else ""
    body = {bodies.Empty: "", SignedBody: "bytes"}.get(verb.body, _link(verb.body.__name__))
    return (
        code(f"{verb.method} {verb.path}"),
        verb.what + asked,
        listed(verb.query),
        body,
        _answer(verb.answers, verb),
        _scope(verb),
        verb.risk.value + (", *key*" if verb.takes_key else ""),
        "yes" if verb.method == "GET" or verb.for_runs else "",
    )


def _scope(verb: Verb) -> str:
    named = {TcpAccess.OPEN: "anybody", TcpAccess.SIGNED: "signature", TcpAccess.CLOSED: "unix socket"}
    over_tcp = named.get(verb.over_tcp, verb.needs.value)
    return f"{over_tcp}, item" if verb.for_item else over_tcp


def _answer(answers: Any, verb: Verb) -> str:
    if answers == Octets | EventStream:
        return "bytes; with `follow` or `shown` events"
    if answers in (Octets, EventStream):
        return "bytes" if answers is Octets else "events"
    if get_origin(answers) in (Union, UnionType):
        return " or ".join(_answer(arm, verb) for arm in get_args(answers))
    return f"[{answers.__name__}](json.md#{answers.__name__.lower()})" if is_shape(answers) else "object"


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _with_inner(body: type[BaseModel]) -> set[type[BaseModel]]:
    """The body, those that it is made from, and those that stand inside of it."""
    near = {one for field in body.model_fields.values() for one in bodies.inner_bodies(field.annotation)}
    near |= set(_above(body))
    return {body}.union(*map(_with_inner, near))


def _above(body: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that it is written on, without those that have no keys."""
    named = [next(one for one in body.__mro__ if one.__name__ == name) for name in bases(body)]
    return [one for one in named if issubclass(one, BaseModel) and one.model_fields]


def _body(body: type[BaseModel]) -> list[str]:
    above = _above(body)
    inherited = {name for base in above for name in base.model_fields}
    hints, said = get_type_hints(body, include_extras=True), remarks(body)
    rows = [
        (
            code(field.alias or name),
            _kind(hints[name]),
            _default(field),
            said.get(name) or field.description or "",
        )
        for name, field in body.model_fields.items()
        if name not in inherited
    ]
    parts = [f"### {body.__name__}", told(body), *(f"All of {_link(b.__name__)}, and:" for b in above)]
    return [*parts, table(("Key", "Type", "Without it", ""), rows) if rows else ""]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True, validated_data={})
    nothing = isinstance(value, BaseModel) or value in (None, "", (), {}, PydanticUndefined)
    return "" if nothing else code(str(value).lower())


def _kind(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        given = (one.json_schema_input_type for one in args[1:] if isinstance(one, BeforeValidator))
        return _kind(next((one for one in given if one is not PydanticUndefined), args[0]))
    if origin is Literal:
        return listed(args)
    if origin in (Union, type(int | None)):
        return " or ".join(_kind(arm) for arm in args if arm is not type(None))
    if origin is tuple:
        return f"list of {_kind(args[0])}"
    if origin is dict:
        return "object of text"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return _link(hint.__name__)
    if isinstance(hint, type) and hasattr(hint, "__members__"):
        return listed(hint)  # type: ignore[arg-type]
    plain = {str: "text", int: "integer", bool: "boolean", float: "number", Decimal: "decimal, as text"}
    return plain[hint]
