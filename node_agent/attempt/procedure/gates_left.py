"""Reads the files of the checkout that gates have changed, and the reports of gates."""

from __future__ import annotations

from typing import Any

from node_agent.attempt.claims import clipped, such_as
from node_agent.attempt.ports import StepFailed
from node_agent.attempt.procedure.context import Case
from node_agent.attempt.reports import gate_reports


def changed_by_gates(case: Case) -> list[str]:
    committed = case.entry.committed
    commit = committed.get("commit") or case.order.workspace.snapshot
    if commit is None or committed["kind"] == "none":
        return []
    try:
        changed = case.context.workspaces.changed_since(case.identity, commit, case.entry.baseline)
    except StepFailed as failed:
        return [f"the changes of the gates could not be read: {failed}"[:1000]]
    names, more = clipped(name for name in changed if name not in case.order.reports)
    listed = such_as(list(map(case.cleaner(), names)), more)
    return [f"gates changed uncommitted files: {listed}"] if names else []


def reported(case: Case) -> list[dict[str, Any]]:
    """The reports of the gates. They change no verdict: the exit statuses decide."""
    files, top, found, trouble = case.order.reports, "", dict[str, bytes](), ""
    try:
        top, found = case.context.workspaces.read_reports(case.identity, files)
    except StepFailed as failed:
        trouble = f"the files could not be read: {failed}"
    reports = gate_reports(files, found, top, case.cleaner(), trouble)
    return [one.model_dump(mode="json") for one in reports]
