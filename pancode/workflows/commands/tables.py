"""Formats a workflow and its steps as text and tables."""

from __future__ import annotations

from typing import Any

from pancode.interfaces.cli.follow import format_interval
from pancode.interfaces.cli.terminal import (
    Columns,
    RowColumns,
    clip_columns,
    escape_line,
    format_rows,
    format_usd,
)
from pancode.kernel.formatting import count_noun, first_few, format_outcome
from pancode.workflows.answers import LaneShape, WorkflowShape, WorkflowStepShape

OVER = ("done", "failed", "refused", "skipped", "stopped")
"""States of a step that has ended."""
ENDED = ("done", "partial", "failed", "stopped")
TASK_COLUMNS = 60
"""How many characters of a task and of an answer are shown on a line."""
MOST_NAMED = 5


def format_headline(shape: WorkflowShape) -> str:
    """Return one line with the workflow's id, its progress and its cost."""
    parts = [shape["workflow"], shape["kind"]]
    parts += [escape_line(shape["name"])] if shape["name"] != shape["kind"] else []
    parts += [state_of(shape), format_counts(shape), format_spent(shape)]
    parts += [format_interval(shape["created_at"], shape["finished_at"])] if shape["finished_at"] else []
    reason = escape_line(shape["reason"])
    return "  ".join(parts) + (f"\n  {reason}" if reason else "") + "\n"


def state_of(shape: WorkflowShape) -> str:
    """Return the workflow's state; if no step continues before a user answers, that it waits for the user."""
    return "waits for a user" if shape.get("waits_for_person") else str(shape.get("status", shape["state"]))


def list_questions(shape: WorkflowShape) -> str:
    """Return the questions that wait for a user, each with the command that answers it."""
    steps = {step["run"]: step["name"] for step in shape["steps"] if step["run"]}
    text = ""
    for item in shape.get("inbox", ()):
        words = escape_line(" ".join(item["words"].split()))
        text += f"  {escape_line(steps.get(item['run'], ''))} waits for a user: {words}\n"
        text += f"    {item['command']}\n"
    return text


def format_counts(shape: WorkflowShape) -> str:
    """Return `3 of 4 steps done, 1 failed; 2 of 3 landed, 1 waiting`."""
    states, landings = [step["state"] for step in shape["steps"]], shape["landed"]
    named = [one for one in (*OVER[1:], "running", "pending", "waiting") if one in states]
    text = f"{states.count('done')} of {count_noun(len(states), 'step')} done"
    text += "".join(f", {states.count(state)} {state}" for state in named)
    if shape["kind"] == "race" and shape["state"] == "failed" and shape["winner"] is None:
        text += ", no winner"
    if landings["asked"]:
        text += f"; {landings['landed']} of {landings['asked']} landed"
        left = {"waiting": landings["waiting"], "not landed": landings["not_landed"]}
        text += "".join(f", {count} {word}" for word, count in left.items() if count)
    return text


def format_spent(shape: WorkflowShape | LaneShape) -> str:
    cost = shape["cost"]
    unknown = f" and {count_noun(cost['unknown'], 'run')} of unknown cost" if cost["unknown"] else ""
    most = f" of {format_usd(cost['budget_usd'])}" if cost["budget_usd"] is not None else ""
    return f"{format_usd(cost['usd'])}{most}{unknown}"


def format_workflows(found: list[WorkflowShape], kind: str | None = None) -> str:
    none = 'no workflows yet; try: pancode chain explore-then-build "..."'
    none = f"no workflow of kind {kind}; all: pancode workflow ls" if kind else none
    return format_rows(found, _COLUMNS, none, spare=("TOOK", "COST"), cut="STEPS")


def _format_duration(one: dict[str, Any]) -> str:
    return format_interval(one["created_at"], one["finished_at"]) if one["finished_at"] else "not ended"


_COLUMNS: Columns = {
    **{"WORKFLOW": "workflow", "STATE": state_of, "KIND": "kind"},
    **{"NAME": lambda one: clip_columns(escape_line(one["name"]), 30), "STEPS": format_counts},
    **{"COST": format_spent, "TOOK": _format_duration, "AT": "created_at"},
}


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def format_worker(agent: str | None, node: str | None, task: str) -> str:
    """Return the known ones of agent, node and task, such as `builder on gpubox: review src/auth`."""
    place = " on ".join(escape_line(name) for name in (agent, node) if name)
    return ": ".join(filter(None, (place, clip_columns(escape_line(task), TASK_COLUMNS))))


def group_waits(shape: WorkflowShape) -> dict[str, list[str]]:
    """Return the steps that could start now but wait, grouped by the reason."""
    reasons: dict[str, list[str]] = {}
    for step in shape["steps"]:
        if step["reason"] and (step["state"] == "pending" or step["state"] == "waiting" and not step["run"]):
            reason = escape_line(step["reason"]).removeprefix("waits: ")
            reasons.setdefault(reason, []).append(escape_line(step["name"]))
    return reasons


def why_waits(reasons: dict[str, list[str]]) -> str:
    """Return the grouped reasons as text, such as `a, b and 3 more wait: paused by ann`."""
    waits = ((f"wait{'s' * (len(names) == 1)}: {why}", names) for why, names in reasons.items())
    return "; ".join(f"{first_few(names, MOST_NAMED)} {words}" for words, names in waits)


def format_workflow(shape: WorkflowShape) -> str:
    """Return the workflow as text, with a row for each step."""

    def format_result(step: WorkflowStepShape) -> str:
        won = step["name"] == shape["winner"]
        return "won" if won else step["reason"] or clip_columns(step["answer"], TASK_COLUMNS)

    columns: RowColumns[WorkflowStepShape] = {
        **{"STEP": "name", "STATE": _step_state, "NEEDS": "needs", "ROUND": _round},
        **{"RUNS": lambda step: " ".join(step["runs"]), "AGENT": "agent", "NODE": "node"},
        **{"TASK": lambda step: clip_columns(step["task"], TASK_COLUMNS), "WHY OR ANSWER": format_result},
    }
    rows = format_rows(shape["steps"], columns, spare=("NEEDS", "ROUND"))
    return format_headline(shape) + rows + list_questions(shape)


def _step_state(step: WorkflowStepShape) -> str:
    same = step["outcome"] in (None, step["state"])
    return str(step["state"]) if same else f"{step['state']}: {format_outcome(step['outcome'] or '')}"


def _round(step: WorkflowStepShape) -> str:
    return f"{step['round']} of {step['most']}" if max(step["most"], step["round"]) > 1 else ""
