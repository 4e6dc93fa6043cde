"""A run that a person approves before it begins: why it asks, what the person is shown, what a yes covers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pancode.core.records import Run
from pancode.life.kinds import ItemKind

FIRST = "waits for a person's yes: pancode inbox"
MOST_TASK = 1_000
_HIDDEN = "{shown} ... ({hidden} more characters are not shown here; all of it: pancode runs show {run})"


def is_unapproved(run: Run) -> bool:
    """Whether a person has to approve the run before it may begin."""
    return "asks" in run.terms and "approved" not in run.terms


def is_lifted_for_good(run: Run) -> bool:
    """Whether a person has lifted the budget for later attempts of this run, too."""
    approval = run.terms.get("approved")
    return approval is not None and approval["whole"] and run.terms.get("asks") == ItemKind.BUDGET.value


def plan_of(run: Run) -> dict[str, Any]:
    """The plan that the inbox shows to the person who approves."""
    usd = run.limits.get("usd")
    return {
        "task": _task(run),
        "asked_by": run.created_by,
        "parent": run.parent,
        "agent": run.agent,
        "runtime": run.runtime,
        "model": run.asked_model or run.model,
        "mode": run.mode.value,
        "safety": run.safety.value,
        "node": run.node,
        "project": run.project,
        "verify": [str(gate["name"]) for gate in run.gates],
        "lands": run.land,
        "limit_usd": None if usd is None else f"{Decimal(str(usd)):f}",
        "estimate_usd": f"{run.estimate_usd:f}",
        "estimate_tokens": run.estimate_tokens,
        "estimate_minutes": round(run.estimate_ms / 60_000, 2),
        "objections": list(run.terms.get("objections", ())),
    }


def _task(run: Run) -> str:
    """The beginning of the task; a cut task says so, and names the command that shows all of it."""
    task = run.task if run.argv is None else " ".join(run.argv)
    if len(task) <= MOST_TASK:
        return task
    return _HIDDEN.format(shown=task[:MOST_TASK], hidden=len(task) - MOST_TASK, run=run.id)


def words_of(run: Run) -> str:
    """The reason why the run waits for a person, in one line."""
    model = f" with {run.asked_model}" if run.asked_model else ""
    words = f"{run.created_by} asks to start {run.agent} on {run.runtime}{model}, estimate "
    words += f"${run.estimate_usd:.2f}"
    against = "; ".join(run.terms.get("objections", ()))
    return f"{words}; against it: {against}" if against else words
