"""Sends a workflow to the coordinator: its plan is shown, or it begins and is waited for."""

from __future__ import annotations

from typing import Any

from pancode.cli.face import Face
from pancode.cli.output.render import safe, usd
from pancode.cli.output.tables import table
from pancode.cli.runs.dispatch import of_caller, plan, post_agreed
from pancode.cli.workflows.waiting import finished, wait_for
from pancode.cli.workflows.words import headline
from pancode.errors import ExitCode, UsageError

STAGGER_MS = 150


def begin(face: Face, body: dict[str, Any], given: dict[str, Any], *, land_last: bool = False) -> int:
    """`given`: the command's own options. The exit status."""
    if land_last and given["detach"]:
        raise UsageError(
            "--land waits for the end, and --detach does not",
            fix="leave one of them out; later: pancode land RUN",
        )
    asked = {**request_of(body, given), "dry_run": given["dry_run"]}
    answer = post_agreed(face, face.client(works=True), "/v1/workflows", asked)
    if given["dry_run"]:
        face.show(answer, lambda: planned(answer))
        return ExitCode.DONE if answer["admitted"] else ExitCode.REFUSED
    return awaited(face, answer, detach=given["detach"], land_last=land_last)


def request_of(body: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The whole request: the steps, who asks, and the options that are about the whole workflow."""
    asked = {"stagger_ms": STAGGER_MS, **body, **of_caller(given), **_settings(given)}
    return {**asked, "yes": given["yes"]}


def awaited(face: Face, answer: dict[str, Any], *, detach: bool, land_last: bool = False) -> int:
    """For a workflow that has begun or goes on."""
    for warning in answer["warnings"]:
        face.note(f"warning: {safe(warning)}")
    if detach:
        face.show(answer, lambda: headline(answer))
        return ExitCode.DONE
    ended = wait_for(face, face.client(), answer["workflow"])
    return ExitCode.DETACHED if ended is None else finished(face, ended, land_last=land_last)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """The options that are about the whole workflow."""
    named = {"concurrency": "concurrency", "stagger": "stagger_ms", "total": "budget", "preset": "preset"}
    settings = {key: given[name] for name, key in named.items() if given.get(name) is not None}
    return settings | {name: True for name in ("fail_fast", "partial") if given.get(name)}


def planned(answer: dict[str, Any]) -> str:
    """A dry run of all steps; the gates of those that would be refused."""
    rows = [
        (
            step["name"],
            ", ".join(step["needs"]),
            "would be queued" if step["admitted"] else "refused",
            step["agent"],
            step["runtime"],
            step["model"],
            usd(step["estimate_usd"]),
            step.get("later"),
        )
        for step in answer["steps"]
    ]
    head = ("STEP", "NEEDS", "VERDICT", "AGENT", "RUNTIME", "MODEL", "ESTIMATE", "LATER")
    refused = [step for step in answer["steps"] if not step["admitted"]]
    gates = "".join(f"\n{safe(step['name'])}: {plan({'snapshot': None, **step})}" for step in refused)
    return table(head, rows, toned=("VERDICT",)) + f"estimate of all: {usd(answer['estimate_usd'])}\n" + gates
