"""Sends a workflow to the coordinator: its plan is shown, or it begins and is waited for."""

from __future__ import annotations

from typing import Any

from pancode.interfaces.cli.follow import warn
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.terminal import RowColumns, clip, listing, safe, usd
from pancode.kernel.errors import ExitCode
from pancode.kernel.formatting import first_few
from pancode.runs.answers import GateShape
from pancode.runs.commands.dispatch import gate_state, of_caller, plan, post_agreed
from pancode.workflows.answers import BEGIN_WORKFLOW, TRY_WORKFLOW, StepReport, WorkflowDryRun, WorkflowShape
from pancode.workflows.commands.tables import TASK_COLUMNS, first_line, headline
from pancode.workflows.commands.wait import finished, wait_for

STAGGER_MS = 150
MOST_NAMED = 5
"""How many steps are named with a warning about them."""


def begin(face: Face, body: dict[str, Any], given: dict[str, Any]) -> int:
    """`given`: the command's own options. The exit status."""
    asked = {**request_of(body, given), "dry_run": given["dry_run"]}
    client = face.client(works=True)
    if given["dry_run"]:
        report = post_agreed(face, client, TRY_WORKFLOW, asked)
        face.show(report, lambda: planned(report))
        return ExitCode.DONE if report["admitted"] else ExitCode.REFUSED
    return awaited(face, post_agreed(face, client, BEGIN_WORKFLOW, asked), detach=given["detach"])


def request_of(body: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The whole request: the steps, who asks, and the options that are about the whole workflow."""
    asked = {"stagger_ms": STAGGER_MS, **body, **of_caller(given), **_settings(given)}
    if given.get("land") and body["kind"] != "batch":  # of a batch, each step says it for itself
        asked["land"] = True
    return {**asked, "yes": given["yes"]}


def awaited(face: Face, answer: WorkflowShape, *, detach: bool) -> int:
    """For a workflow that has begun or goes on."""
    warn(face, answer["warnings"])
    if detach:
        face.show(answer, lambda: headline(answer))
        return ExitCode.DONE
    ended = wait_for(face, face.client(), answer["workflow"])
    return ExitCode.DETACHED if ended is None else finished(face, ended)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the whole workflow that the options give."""
    named = {"concurrency": "concurrency", "stagger": "stagger_ms", "total": "budget", "preset": "preset"}
    settings = {key: given[name] for name, key in named.items() if given.get(name) is not None}
    return settings | {name: True for name in ("fail_fast", "partial") if given.get(name)}


def planned(answer: WorkflowDryRun) -> str:
    """A dry run of all steps: which gates they pass, each warning, and all gates of those to be refused."""
    refused = [step for step in answer["steps"] if not step["admitted"]]
    gates = "".join(f"\n{safe(step['name'])}: {plan(step, None)}" for step in refused)
    below = f"estimate of all: {usd(answer['estimate_usd'])}\n"
    if answer["reason"]:
        below += f"{'warning' if answer['admitted'] else 'refused'}: {safe(answer['reason'])}\n"
    if answer["fix"]:
        below += f"fix: {answer['fix']}\n"
    return listing(answer["steps"], _PLANNED, spare=("LATER",)) + below + _warned(answer["steps"]) + gates


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
    "TASK": lambda step: clip(first_line(step["task"]), TASK_COLUMNS),
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
        f"warning of {safe(first_few(names, MOST_NAMED))}: {safe(words)}\n" for words, names in about.items()
    )
