"""Options of commands that dispatch: those generated from `runs/options.py`, and additional ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Annotated, Any, TypeVar

from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import SectionedCommand
from pancode.interfaces.cli.declared import collect_values, take_values
from pancode.interfaces.cli.parameters import option, parse_money
from pancode.runs.options import GATES, LIMITS, OPTIONS, WHERE, WHO

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


class WorkCommand(SectionedCommand):
    """A command with the options of a dispatch, grouped under headings in its help."""

    headings = HEADINGS
    only_whole = {one.word for one in OPTIONS.values() if not one.is_common} | {"preset", "no_verify"}


def take_options(like: str, *, after: str) -> Callable[[F], F]:
    """Return a decorator that adds the options of the command `like` after a command's own parameter `after`:
    see `take_values`."""
    return take_values((one for one in OPTIONS.values() if like in one.commands), after=after, beside=_BESIDE)


def collect_given(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given options as the body of the API request; `given` may lack some options."""
    body = collect_values(OPTIONS.values(), given)
    if given.get("no_verify"):
        body.setdefault("verify", [])
    # An empty option is also sent, and refused; an empty environment variable counts as not set.
    flag = given.get("preset")
    preset = flag if flag is not None else os.environ.get("PANCODE_PRESET", "").strip() or None
    return body if preset is None else {**body, "preset": preset}
