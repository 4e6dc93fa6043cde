"""Writes the page of JSON: every object that `--json` and the API answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from docs.generate.markdown import bases, code, page, table, told, words
from pancode.app.http_routes import VERBS
from pancode.conversation import answers as session_shapes
from pancode.fleet import model_tests
from pancode.notices import answers as outgoing_shapes
from pancode.reports import timeline
from pancode.runs import answers as run_shapes
from pancode.runs import inbox_answers
from pancode.runs.admission import dry_run

MODULES = (run_shapes, dry_run, inbox_answers, model_tests, timeline, outgoing_shapes, session_shapes)
"""These come first, and hold what no route answers with; the others are found by the routes."""

PRINTED = (
    ("dispatch", "RunDetail", "with `--detach`: [Queued](#queued)"),
    ("runs", "RunShape", 'as `{"runs": [...]}`'),
    ("runs show", "RunDetail", ""),
    ("why", "WhyShape", ""),
    ("runs ls --waiting", "QueuesShape", ""),
    ("node ls", "FleetShape", ""),
    ("receipt ls", "ReceiptRow", 'as `{"receipts": [...]}`'),
    ("receipt verify", "VerdictShape", "of a run: [SessionVerdictShape](#sessionverdictshape)"),
    ("budget show", "BudgetShape", ""),
    ("audit --events", "FeedShape", "one on each line"),
    ("audit", "AuditRow", 'as `{"audit": [...]}`'),
)
INTRO = """
Scripts may rely on what is listed here: later versions only add. Names are snake_case, times ISO 8601 in
UTC, money decimal strings in USD; a cost that is not known is `null` beside `"cost_source": "unknown"`,
never zero. An error with `--json` is one object on standard error, see [exit
statuses](exit-codes.md#errors). The same objects are answered by the [HTTP API](api.md).
"""


def json_page() -> str:
    shapes = all_shapes()
    rows = [(code(f"pancode {name} --json"), _link(shape), more) for name, shape, more in PRINTED]
    parts = [
        part for shape in shapes for part in (f"### {shape.__name__}", told(shape), _fields(shape)) if part
    ]
    return page(
        "JSON",
        "the types that the routes of `pancode` return",
        words(INTRO),
        table(("Command", "Object", ""), rows),
        "## Objects",
        *parts,
    )


@cache
def all_shapes() -> list[type]:
    """Each once: in the order of the modules, then of the routes."""
    found = [shape for module in MODULES for shape in vars(module).values() if is_typeddict(shape)]
    found += [shape for verb in VERBS for shape in _within(verb.answers, ())]
    return list(dict.fromkeys(shape for shape in found if shape.__name__ != "TypedDict"))


def is_shape(hint: Any) -> bool:
    return is_typeddict(hint) or (isinstance(hint, type) and is_dataclass(hint))


def _within(hint: Any, outer: tuple[Any, ...]) -> list[type]:
    """The objects of which it is made, the inner ones first. `outer`: one in itself is not looked into."""
    if is_shape(hint):
        parts = get_type_hints(hint).values() if hint not in outer else ()
        return [*(one for part in parts for one in _within(part, (*outer, hint))), hint]
    return [one for part in get_args(hint) for one in _within(part, outer)]


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _fields(shape: type) -> str:
    known = {one.__name__: one for one in all_shapes()}
    above = [known[name] for name in bases(shape)[:1] if name in known]
    inherited = {name for base in above for name in get_type_hints(base)}
    rows = [
        (code(name), _kind(hint) + _note_optional(shape, name))
        for name, hint in get_type_hints(shape).items()
        if name not in inherited
    ]
    return "\n\n".join(
        [*(f"All of {_link(b.__name__)}, and:" for b in above), table(("Field", "Type"), rows)]
    )


def _note_optional(shape: Any, name: str) -> str:
    return ", may be missing" if name in getattr(shape, "__optional_keys__", ()) else ""


def _kind(hint: Any) -> str:
    if hint is Any or get_origin(hint) in (dict, Mapping):
        inner = get_args(hint)[1] if get_args(hint) else Any
        return "object" if inner is Any else f"object of {_kind(inner)}"
    if get_origin(hint) in (list, tuple):
        return f"list of {_kind(get_args(hint)[0])}"
    if get_args(hint):
        return " or ".join("null" if arm is type(None) else _kind(arm) for arm in get_args(hint))
    if is_shape(hint):
        return _link(hint.__name__)
    if issubclass(hint, Enum):
        return ", ".join(code(one.value) for one in hint)
    return {
        "str": "text",
        "int": "integer",
        "float": "number",
        "bool": "boolean",
        "Decimal": "decimal, as text",
    }[hint.__name__]
