"""`pancode workflow race`: one task for several agents, models, runtimes or nodes; the best wins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import typer

from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.parameters import Json
from pancode.kernel.errors import UsageError
from pancode.runs.commands import options
from pancode.runs.commands.dispatch import task_text
from pancode.workflows.commands import begin

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")
_LISTS = {"agents": "agent", "models": "model", "runtimes": "runtime", "nodes": "node"}


@verb(
    "workflow race",
    "pancode workflow race 'make the parser faster' --agents builder,fixer --verify 'pytest -q'",
    "pancode workflow race 'make the parser faster' --best-of 3 --choose smallest",
    "pancode workflow race -f task.md --runtimes claude,codex --score ./bench.sh",
    cls=options.WorkCommand,
)
@options.take_options("race", after="score")
def race(
    ctx: typer.Context,
    *,
    task: options.Task = None,
    file: options.File = None,
    agents: begin.RaceAgents = None,
    models: begin.RaceModels = None,
    runtimes: begin.RaceRuntimes = None,
    nodes: begin.RaceNodes = None,
    best_of: begin.BestOf = None,
    by: begin.WonBy = None,
    score: begin.Score = None,
    concurrency: begin.Concurrency = None,
    partial: begin.Partial = False,
    total: begin.Total = None,
    land: begin.LandLast = False,
    detach: begin.Detach = False,
    dry_run: begin.DryRun = False,
    yes: begin.Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Give one TASK to several workers; the first that is done and passes the gates wins.

    The others are stopped, and their cost is shown. With --choose smallest or --score, all of them finish and
    the best result wins. Exit code 20 if there is no winner.
    """
    text = task_text(task, file) or ""
    flags = begin.without_preset(options.collect_given({**ctx.params, "land": False}))
    runners = parse_runners(ctx.params).items()
    steps = [{"name": name, "dispatch": {"task": text, **flags, **one}} for name, one in runners]
    body = {"kind": "race", "name": "race", "input": text, "steps": steps, "race": _make_rule(by, score)}
    return begin.post_workflow(face, body, ctx.params)


def parse_runners(given: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return, by step name, what each competitor has for itself. UsageError."""
    lists = [name for name in _LISTS if given[name] is not None]
    if len(lists) + (given["best_of"] is not None) != 1:
        problem = "the race has no competitors" if not lists else "a race compares only one kind of thing"
        fix = "use one of --agents A,B --models A,B --runtimes A,B --nodes A,B --best-of 3"
        raise UsageError(problem, fix=fix)
    if not lists:
        return {str(number): {} for number in range(1, given["best_of"] + 1)}
    field = _LISTS[lists[0]]
    words = [word.strip() for word in given[lists[0]].split(",") if word.strip()]
    if len(set(words)) < 2 or len(set(words)) < len(words):
        what = f"--{lists[0]} needs two or more, each once"
        raise UsageError(what, fix=f"--{lists[0]} A,B, or --best-of 3 to run the same one several times")
    if given[field] is not None:
        raise UsageError(f"--{lists[0]} and --{field} cannot be combined", fix="omit one of them")
    return {_name(word, number): {field: word} for number, word in enumerate(words, start=1)}


def _name(word: str, number: int) -> str:
    """Return a step's name made from an agent's or model's, numbered if it may be ambiguous."""
    name = _NOT_IN_NAMES.sub("-", word.lower()).strip("-_")[:60]
    return name if name == word else f"{name}-{number}".lstrip("-")


def _make_rule(by: str | None, score: str | None) -> dict[str, str]:
    """Return the rule that decides the race. UsageError unless score and command go together."""
    rule = by or ("score" if score is not None else "first")
    if (rule == "score") != (score is not None):
        what = "--choose score requires --score CMD, and --score CMD requires --choose score"
        raise UsageError(what, fix="--score './bench.sh'")
    return {"by": rule} | ({"score": score} if score is not None else {})
