"""Sends a workflow to the coordinator: its plan is shown, or it begins and is waited for."""

from __future__ import annotations

from typing import Any

from pancode.interfaces.cli.follow import print_warnings
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.terminal import RowColumns, clip_columns, escape_line, format_rows, format_usd
from pancode.kernel.errors import ExitCode
from pancode.kernel.formatting import first_few
from pancode.runs.answers import GateShape
from pancode.runs.commands.dispatch import format_plan, gate_state, of_caller, post_agreed
from pancode.workflows.answers import BEGIN_WORKFLOW, TRY_WORKFLOW, StepReport, WorkflowDryRun, WorkflowShape
from pancode.workflows.commands.tables import TASK_COLUMNS, first_line, format_headline
from pancode.workflows.commands.wait import report_end, wait_for

STAGGER_MS = 150
MOST_NAMED = 5
"""How many steps are named with a warning about them."""


def post_workflow(face: Face, body: dict[str, Any], given: dict[str, Any]) -> int:
    """`given`: the command's own options. The exit status."""
    asked = {**request_of(body, given), "dry_run": given["dry_run"]}
    client = face.client(works=True)
    if given["dry_run"]:
        report = post_agreed(face, client, TRY_WORKFLOW, asked)
        face.show(report, lambda: format_dry_run(report))
        return ExitCode.DONE if report["admitted"] else ExitCode.REFUSED
    return wait_for_workflow(face, post_agreed(face, client, BEGIN_WORKFLOW, asked), detach=given["detach"])


def request_of(body: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The whole request: the steps, who asks, and the options that are about the whole workflow."""
    asked = {"stagger_ms": STAGGER_MS, **body, **of_caller(given), **_settings(given)}
    if given.get("land") and body["kind"] != "batch":  # of a batch, each step says it for itself
        asked["land"] = True
    return {**asked, "yes": given["yes"]}


def wait_for_workflow(face: Face, answer: WorkflowShape, *, detach: bool) -> int:
    """For a workflow that has begun or continues."""
    print_warnings(face, answer["warnings"])
    if detach:
        face.show(answer, lambda: format_headline(answer))
        return ExitCode.DONE
    ended = wait_for(face, face.client(), answer["workflow"])
    return ExitCode.DETACHED if ended is None else report_end(face, ended)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the whole workflow that the options give."""
    named = {"concurrency": "concurrency", "stagger": "stagger_ms", "total": "budget", "preset": "preset"}
    settings = {key: given[name] for name, key in named.items() if given.get(name) is not None}
    return settings | {name: True for name in ("fail_fast", "partial") if given.get(name)}


def format_dry_run(answer: WorkflowDryRun) -> str:
    """A dry run of all steps: which gates they pass, each warning, and all gates of those to be refused."""
    refused = [step for step in answer["steps"] if not step["admitted"]]
    gates = "".join(f"\n{escape_line(step['name'])}: {format_plan(step, None)}" for step in refused)
    below = f"estimate of all: {format_usd(answer['estimate_usd'])}\n"
    if answer["reason"]:
        below += f"{'warning' if answer['admitted'] else 'refused'}: {escape_line(answer['reason'])}\n"
    if answer["fix"]:
        below += f"fix: {answer['fix']}\n"
    return format_rows(answer["steps"], _PLANNED, spare=("LATER",)) + below + _warned(answer["steps"]) + gates


def _gates(gates: list[GateShape]) -> str:
    """Return the gates' states, counted: `10 passed`, or `9 passed, 1 warning`."""
    states = list(map(gate_state, gates))
    return ", ".join(
        f"{states.count(state)} {state}" for state in ("passed", "warning", "refused") if state in states
    )


_PLANNED: RowColumns[StepReport] = {
    **{"STEP": "name", "NEEDS": "needs"},
    "VERDICT": lambda step: "would be queued" if step["admitted"] else "refused",
    **{"GATES": lambda step: _gates(step["gates"]), "AGENT": "agent", "NODE": "node", "RUNTIME": "runtime"},
    **{"MODEL": "model", "ESTIMATE": "estimate_usd"},
    "TASK": lambda step: clip_columns(first_line(step["task"]), TASK_COLUMNS),
    "LATER": lambda step: step.get("later"),
}


def _warned(steps: list[StepReport]) -> str:
    """Return each warning of the gates once, with the steps that it is about."""
    about: dict[str, list[str]] = {}
    for step in steps:
        for gate in step["gates"]:
            if gate["warning"] and step["admitted"]:
                about.setdefault(f"{gate['gate']}: {gate['words']}", []).append(step["name"])
    return "".join(
        f"warning of {escape_line(first_few(names, MOST_NAMED))}: {escape_line(words)}\n"
        for words, names in about.items()
    )
