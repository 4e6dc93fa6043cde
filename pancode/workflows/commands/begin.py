"""`pancode workflow batch`, `chain` and `race`, and the code that starts or previews any workflow."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer
from typer import Argument

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.parameters import Face, Json, many, option, parse_duration, verb
from pancode.interfaces.cli.terminal import (
    RowColumns,
    clip_columns,
    escape_line,
    escape_lines,
    format_rows,
    format_usd,
)
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import first_few
from pancode.runs.commands import options
from pancode.runs.commands.dispatch_requests import format_plan, gate_state, of_caller, post_agreed, task_text
from pancode.workflows.answers import BEGIN_WORKFLOW, TRY_WORKFLOW, StepReport, WorkflowDryRun, WorkflowShape
from pancode.workflows.commands.completions import workflow_files
from pancode.workflows.commands.tables import TASK_COLUMNS, first_line, format_headline
from pancode.workflows.commands.wait import report_end, wait_for

_STAGGER = "Minimum delay between two starts of agent programs on one node (default: 150ms)."
Partial = Annotated[bool, option("Leave out refused tasks instead of refusing everything.")]
LandLast = Annotated[bool, option("Land the change when everything is done.")]
Yes = Annotated[bool, option("Approve agents that require a user's approval before each dispatch.", "--yes")]
DryRun = Annotated[bool, option("Show the plan, the gates' results and the estimate; start nothing.")]
Detach = Annotated[bool, option("Do not wait for the results.", "--detach/--wait")]
RaceRuntimes = Annotated[str | None, option("One run per runtime.", "A,B", complete=completions.runtimes)]
_WON_BY = "How the winner is chosen: first that is done (default), smallest change, or highest score."
Score = Annotated[str | None, option("Command that is run in each result and prints a number.", "CMD")]


@verb(
    "workflow batch",
    "-t 'review src/a.py' -t 'review src/b.py' --agent reviewer",
    "tasks.yaml --concurrency 4 --fail-fast",
    "git ls-files '*.py' | sed 's/^/add types to /' | pancode workflow batch - --dry-run",
    cls=options.WorkCommand,
)
@options.take_options("batch", after="file")
def batch(
    ctx: typer.Context,
    *,
    task: Annotated[list[str], many("A task; may be repeated.", "-t", "--task", "TASK")],
    file: Annotated[str | None, Argument(autocompletion=workflow_files)] = None,
    concurrency: options.Concurrency = None,
    stagger: Annotated[int | None, option(_STAGGER, "D", parser=parse_duration)] = None,
    fail_fast: Annotated[bool, option("Stop all others at the first failure.")] = False,
    partial: Partial = False,
    total: options.Total = None,
    land: Annotated[bool, option("Land the change of each successful run.")] = False,
    detach: Detach = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Run many tasks on the fleet at once, and show each result as it arrives.

    FILE is YAML, JSON, JSONL, or text with one task per line; - is standard input. A task's values in the
    file override these options, which override the file's `defaults`. All tasks are admitted before the first
    one starts. Exit code 20 if some tasks failed.
    """
    begun = tasks_of(task, file, without_preset(options.collect_given(ctx.params)))
    return post_workflow(face, begun, ctx.params)


def without_preset(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags without the preset, which applies to the whole workflow instead of a step."""
    return {name: value for name, value in flags.items() if name != "preset"}


def tasks_of(tasks: list[str], file: str | None, flags: dict[str, Any]) -> dict[str, Any]:
    """Return the request for these tasks, or for those of the file. UsageError, ConfigError."""
    from pancode.workflows.commands.sources import check_source, text_of
    from pancode.workflows.files.search import WorkflowText

    if bool(tasks) == (file is not None):
        both = "tasks were given both as options and in a file" if tasks else "no task was given"
        raise UsageError(both, fix="pancode workflow batch -t TASK -t TASK, or: pancode workflow batch FILE")
    # For tasks from options, a problem's line number is the number of the -t option.
    listed = ",\n".join(map(json.dumps, tasks))
    source = WorkflowText("", "-t", "-t", f'{{"tasks": [{listed}]}}') if file is None else text_of(file)
    found = check_source(source, flags)
    if found.kind != "batch":
        what = f"{source.place} is a {found.kind}, not a batch"
        raise UsageError(what, fix=f"pancode chain {file}", code="bad_workflow")
    return {**(found.body or {}), **source.told()}


@verb(
    "workflow chain",
    "explore-then-build 'add tests for the config module'",
    "./release.yaml --dry-run",
    "review-loop -f task.md --land",
    cls=options.WorkCommand,
)
@options.take_options("chain", after="file")
def chain(
    ctx: typer.Context,
    *,
    workflow: Annotated[str, Argument(metavar="NAME|FILE", autocompletion=workflow_files)],
    text: Annotated[str | None, Argument(metavar="[INPUT]")] = None,
    file: options.File = None,
    concurrency: options.Concurrency = None,
    total: options.Total = None,
    land: LandLast = False,
    detach: Detach = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Run the steps of a workflow, each on the results of the previous steps.

    NAME is looked up in the project's .pancode/workflows, in the workflows folder of your PANCODE_HOME, and
    among the shipped ones (pancode workflow ls --files). INPUT replaces $ORIGINAL. A step's values in the
    file override these options. Exit code 20 if a step failed; continue with pancode workflow resume.
    """
    return post_workflow(face, steps_of(workflow, task_text(text, file), ctx.params), ctx.params)


def steps_of(workflow: str, wanted: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return the request for this workflow with its input. UsageError, ConfigError."""
    from pancode.workflows.commands.sources import check_source, text_of

    source = text_of(workflow)
    found = check_source(source, without_preset(options.collect_given({**given, "land": False})))
    if found.kind == "batch":
        what = f"{source.place} is a batch, not a chain"
        raise UsageError(what, fix=f"pancode batch {workflow}", code="bad_workflow")
    if found.needs_input and not (wanted or "").strip():
        what = f"{source.name or workflow} uses $ORIGINAL or $INPUT, but no input was given"
        raise UsageError(what, fix=f'pancode workflow chain {workflow} "what to do"', code="no_input")
    return {**(found.body or {}), **source.told(), "input": wanted or ""}


STAGGER_MS = 150
MOST_NAMED = 5
"""The maximum number of steps that a warning names."""


def post_workflow(face: Face, body: dict[str, Any], given: dict[str, Any]) -> int:
    """Start or preview a workflow; return the exit status. `given`: the command's options."""
    body_sent = {**request_of(body, given), "dry_run": given["dry_run"]}
    client = face.client(works=True)
    if given["dry_run"]:
        report = post_agreed(face, client, TRY_WORKFLOW, body_sent)
        face.show_result(report, format_dry_run)
        return ExitCode.DONE if report["admitted"] else ExitCode.REFUSED
    answer = post_agreed(face, client, BEGIN_WORKFLOW, body_sent)
    return wait_for_workflow(face, answer, detach=given["detach"])


def request_of(body: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the whole request: the steps, the requesting user, and the options for the whole workflow."""
    named = {"concurrency": "concurrency", "stagger": "stagger_ms", "total": "budget", "preset": "preset"}
    settings = {key: given[name] for name, key in named.items() if given.get(name) is not None}
    settings |= {name: True for name in ("fail_fast", "partial") if given.get(name)}
    if given.get("land") and body["kind"] != "batch":  # In a batch, each step has its own `land`.
        settings["land"] = True
    return {"stagger_ms": STAGGER_MS, **body, **of_caller(given), **settings, "yes": given["yes"]}


def make_later(ctx: typer.Context, text: str | None) -> dict[str, object]:
    """Return the request of a workflow that begins later: that of --chain with its input, or the tasks of
    --batch. UsageError, ConfigError."""
    given, batch = ctx.params, ctx.params["batch"]
    if batch is None:
        return request_of(steps_of(given["chain"], text, given), given)
    return request_of(tasks_of([], batch, without_preset(options.collect_given(given))), given)


def wait_for_workflow(face: Face, answer: WorkflowShape, *, detach: bool) -> int:
    """Wait for a workflow that was started or resumed; return the exit status."""
    face.warn(answer["warnings"])
    if detach:
        return face.end(ExitCode.DONE, answer, lambda: format_headline(answer))
    ended = wait_for(face, face.client(), answer["workflow"])
    return ExitCode.DETACHED if ended is None else report_end(face, ended)


def format_dry_run(answer: WorkflowDryRun) -> str:
    """Return the dry run of all steps as text: gates, each warning, and the details of refused steps."""
    refused = [step for step in answer["steps"] if not step["admitted"]]
    gates = "".join(f"\n{escape_line(step['name'])}: {format_plan(step, None)}" for step in refused)
    below = f"total estimate: {format_usd(answer['estimate_usd'])}\n"
    if answer["reason"]:
        below += f"{'warning' if answer['admitted'] else 'refused'}: {escape_line(answer['reason'])}\n"
    below += f"fix: {answer['fix']}\n" if answer["fix"] else ""
    about = dict[str, list[str]]()  # Show each warning of a gate once, with the steps that it is about.
    for step in (step for step in answer["steps"] if step["admitted"]):
        for gate in (gate for gate in step["gates"] if gate["warning"]):
            about.setdefault(f"{gate['gate']}: {gate['words']}", []).append(step["name"])
    below += escape_lines(f"warning of {first_few(to, MOST_NAMED)}: {why}" for why, to in about.items())
    return format_rows(answer["steps"], _PLANNED, spare=("LATER",)) + below + gates


def _format_gates(step: StepReport) -> str:
    """Return the number of gates by result, such as `10 passed` or `9 passed, 1 warning`."""
    counts = Counter(map(gate_state, step["gates"]))
    return ", ".join(f"{counts[one]} {one}" for one in ("passed", "warning", "refused") if counts[one])


_PLANNED: RowColumns[StepReport] = {
    **{"STEP": "name", "NEEDS": "needs"},
    "VERDICT": lambda step: "would be queued" if step["admitted"] else "refused",
    **{"GATES": _format_gates, "AGENT": "agent", "NODE": "node", "RUNTIME": "runtime"},
    **{"MODEL": "model", "ESTIMATE": "estimate_usd"},
    "TASK": lambda step: clip_columns(first_line(step["task"]), TASK_COLUMNS),
    "LATER": lambda step: step.get("later"),
}


_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")
_LISTS = {"agents": "agent", "models": "model", "runtimes": "runtime", "nodes": "node"}


@verb(
    "workflow race",
    "'make the parser faster' --agents builder,fixer --verify 'pytest -q'",
    "'make the parser faster' --best-of 3 --choose smallest",
    "-f task.md --runtimes claude,codex --score ./bench.sh",
    cls=options.WorkCommand,
)
@options.take_options("race", after="score")
def race(
    ctx: typer.Context,
    *,
    task: options.Task = None,
    file: options.File = None,
    agents: Annotated[str | None, option("One run per agent.", "A,B", complete=completions.agents)] = None,
    models: Annotated[str | None, option("One run per model.", "A,B", complete=completions.models)] = None,
    runtimes: RaceRuntimes = None,
    nodes: Annotated[str | None, option("One run on each node.", "A,B", complete=completions.nodes)] = None,
    best_of: Annotated[int | None, option("Run the same worker this many times.", "N", min=2, max=50)] = None,
    by: Annotated[
        Literal["first", "smallest", "score"] | None, option(_WON_BY, "--choose", "first|smallest|score")
    ] = None,
    score: Score = None,
    concurrency: options.Concurrency = None,
    partial: Partial = False,
    total: options.Total = None,
    land: LandLast = False,
    detach: Detach = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Give one TASK to several workers; the first one that is done and passes the gates wins.

    The others are stopped, and their cost is shown. With --choose smallest or --score, all of them finish and
    the best result wins. Exit code 20 if there is no winner.
    """
    text = task_text(task, file) or ""
    flags = without_preset(options.collect_given({**ctx.params, "land": False}))
    runners = parse_runners(ctx.params).items()
    steps = [{"name": name, "dispatch": {"task": text, **flags, **one}} for name, one in runners]
    body = {"kind": "race", "name": "race", "input": text, "steps": steps, "race": _make_rule(by, score)}
    return post_workflow(face, body, ctx.params)


def parse_runners(given: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the fields that differ for each competitor, by step name. UsageError."""
    lists = [name for name in _LISTS if given[name] is not None]
    if len(lists) + (given["best_of"] is not None) != 1:
        problem = (
            "the race has no competitors"
            if not lists
            else ("the competitors of a race may differ in only one option")
        )
        fix = "use one of --agents A,B --models A,B --runtimes A,B --nodes A,B --best-of 3"
        raise UsageError(problem, fix=fix)
    if not lists:
        return {str(number): {} for number in range(1, given["best_of"] + 1)}
    field = _LISTS[lists[0]]
    words = [word.strip() for word in given[lists[0]].split(",") if word.strip()]
    if len(set(words)) < 2 or len(set(words)) < len(words):
        what = f"--{lists[0]} requires at least two different values"
        raise UsageError(what, fix=f"--{lists[0]} A,B, or --best-of 3 to run the same one several times")
    if given[field] is not None:
        raise UsageError(f"--{lists[0]} and --{field} cannot be combined", fix="omit one of them")
    return {_name(word, number): {field: word} for number, word in enumerate(words, start=1)}


def _name(word: str, number: int) -> str:
    """Return a step's name made from an agent's or model's name, with a number if it could be ambiguous."""
    name = _NOT_IN_NAMES.sub("-", word.lower()).strip("-_")[:60]
    return name if name == word else f"{name}-{number}".lstrip("-")


def _make_rule(by: str | None, score: str | None) -> dict[str, str]:
    """Return the rule that decides the race. UsageError if only one of `score` and its command is given."""
    rule = by or ("score" if score is not None else "first")
    if (rule == "score") != (score is not None):
        what = "--choose score requires --score CMD, and --score CMD requires --choose score"
        raise UsageError(what, fix="--score './bench.sh'")
    return {"by": rule} | ({"score": score} if score is not None else {})
