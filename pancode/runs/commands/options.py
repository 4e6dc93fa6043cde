"""Options of commands that dispatch: those generated from `runs/options.py`, and additional ones."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter
from typing import Annotated, Any, TypeVar

from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import SectionedCommand
from pancode.interfaces.cli.parameters import (
    Label,
    many,
    option,
    parse_duration,
    parse_label,
    parse_money,
    size_of,
)
from pancode.runs.options import GATES, LIMITS, OPTIONS, WHERE, WHO, Option

F = TypeVar("F", bound=Callable[..., Any])
Task = Annotated[str | None, Argument()]
File = Annotated[
    str | None,
    option("Read TASK from this file; - means standard input, as does TASK -.", "-f", "--file", "FILE"),
]
_PRESET = "Use the settings of this preset; none: use no preset (see pancode config preset)."
Preset = Annotated[str | None, option(_PRESET, "P", complete=completions.presets)]
SessionAgent = Annotated[str | None, option("Agent definition (default: dispatch.agent, else builder).")]
"""The --agent option of a session; the default is the agent in the settings, else builder."""
NoVerify = Annotated[bool, option("Skip the project's gates.")]
DryRun = Annotated[bool, option("Show the checks of admission and what would happen; start nothing.")]
Concurrency = Annotated[int | None, option("Have at most this many runs at the same time.", "N", min=1)]
_TOTAL = "Maximum cost of all its runs together."
Total = Annotated[str | None, option(_TOTAL, "--total-budget", "USD", parser=parse_money)]
_BESIDE = {
    "reasoning": Parameter("preset", Parameter.KEYWORD_ONLY, default=None, annotation=Preset),
    "verify": Parameter("no_verify", Parameter.KEYWORD_ONLY, default=False, annotation=NoVerify),
}
"""Options that are no fields of a request, by the name of the option after which each is listed."""
_HEADINGS = {
    WHO: ("preset", "agents", "models", "runtimes", "best_of"),
    WHERE: ("project", "nodes", "concurrency", "stagger"),
    LIMITS: ("total", "fail_fast"),
    GATES: ("no_verify", "by", "score", "land"),
}
HEADINGS = {
    title: (*(one.word for one in OPTIONS.values() if one.under == title), *others)
    for title, others in _HEADINGS.items()
}
"""Heading of the help to its options, for all commands with the options of a dispatch."""
_PARSERS = {"Duration": parse_duration, "Size": size_of, "Money": parse_money}
_LISTS = ("Labels", "Commands", "Paths")


class WorkCommand(SectionedCommand):
    """A command with the options of a dispatch, grouped under headings in its help."""

    headings = HEADINGS
    only_whole = {one.word for one in OPTIONS.values() if not one.is_common} | {"preset", "no_verify"}


def take_options(like: str, *, after: str) -> Callable[[F], F]:
    """Return a decorator that adds the options of the command `like` after a command's own parameter `after`.

    The command declares `**_options: Any` for them, and finds their values in `ctx.params`.
    """

    def made(command: F) -> F:
        own = inspect.signature(command, eval_str=True)
        kept = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        at = list(own.parameters).index(after) + 1
        taken = [one for one in _make_parameters(like) if one.name not in own.parameters]
        vars(command)["__signature__"] = own.replace(parameters=[*kept[:at], *taken, *kept[at:]])
        return command

    return made


def _make_parameters(like: str) -> Iterator[Parameter]:
    for one in (one for one in OPTIONS.values() if like in one.commands):
        default, annotation = Parameter.empty if one.kind in _LISTS else one.default, _make_annotation(one)
        yield Parameter(one.word, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        if one.name in _BESIDE:
            yield _BESIDE[one.name]


def _make_annotation(one: Option) -> Any:
    """Return the annotation with which Typer shows and parses the option."""
    names = one.flags or ((one.flag,) if one.kind == "bool" or one.kind in _LISTS else ())
    words = (*names, one.value) if one.value else names
    about = f"{one.help[:-1]}, as in {one.example}." if one.example else one.help
    if one.kind == "Labels":
        return Annotated[list[Label], many(about, *words, parser=parse_label)]
    if one.kind in _LISTS:
        return Annotated[list[str], many(about, *words)]
    more: dict[str, Any] = {"parser": _PARSERS.get(one.kind)}
    if one.kind == "Count" and one.bounds is not None:
        least, most = one.bounds  # The help omits a maximum that no real value reaches.
        more |= {"min": least, "max": most if most <= 1_000 else None}
    if one.complete:
        more["complete"] = getattr(completions, one.complete)
    hint: Any = bool if one.kind == "bool" else int if one.bounds is not None else str
    return Annotated[hint | None if one.default is None else hint, option(about, *words, **more)]


def collect_given(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given options as the body of the API request; `given` may lack some options."""
    body: dict[str, Any] = {}
    for one in OPTIONS.values():
        value = given.get(one.word)
        if value not in (None, [], ()) and value != one.default:
            body[one.name] = dict(value) if one.kind == "Labels" else value
    if given.get("no_verify"):
        body.setdefault("verify", [])
    # An empty option is also sent, and refused; an empty environment variable counts as not set.
    flag = given.get("preset")
    preset = flag if flag is not None else os.environ.get("PANCODE_PRESET", "").strip() or None
    return body if preset is None else {**body, "preset": preset}
