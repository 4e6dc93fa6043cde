"""Keeps, in the run, the calls of a working agent that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.wire.event import PersonAsked
from node_agent.wire.policy import CallAsked
from pancode.core.records import Run
from pancode.core.values import replace
from pancode.errors import RefusedError, UsageError

KEPT_CHARS = 200
"""How many characters of an answered command are kept: a run may have asked about many."""
YES, NO, OVER = "yes", "no", "over"
"""The answers. OVER: the agent did not wait until somebody answered."""


def rows(run: Run) -> list[dict[str, Any]]:
    """All calls about which a person was asked."""
    return run.terms.get("calls", [])


def open_calls(run: Run) -> dict[int, dict[str, Any]]:
    """The calls that wait, by number, oldest first."""
    return {number: row for number, row in enumerate(rows(run), start=1) if not row["answer"]}


def is_known(run: Run, call: str) -> bool:
    return any(row["call"] == call for row in rows(run))


def asked(run: Run, body: PersonAsked, now_ms: int) -> Run:
    """The run after its agent has asked about a call."""
    fresh = {
        **body.asked.model_dump(mode="json"),
        "why": body.why,
        "attempt": run.attempt,
        "at_ms": now_ms,
        "answer": "",
        "by": "",
    }
    return replace(run, terms={**run.terms, "calls": [*rows(run), fresh]})


def answered(run: Run, number: int, answer: str, by: str) -> Run:
    """The run after this call got its answer."""
    updated = [_closed(row, answer, by) if n == number else row for n, row in _numbered(run)]
    return replace(run, terms={**run.terms, "calls": updated})


def permitted(run: Run, pattern: str) -> Run:
    """The run after a person has allowed every call of this rule."""
    return replace(run, terms={**run.terms, "permits": sorted({*permits(run), pattern})})


def permits(run: Run) -> list[str]:
    """The patterns of the rules that no longer ask anybody in this run."""
    return run.terms.get("permits", [])


def over(run: Run) -> Run:
    """The run when none of its calls can wait any more."""
    updated = [row if row["answer"] else _closed(row, OVER, "") for row in rows(run)]
    return replace(run, terms={**run.terms, "calls": updated})


def chosen(run: Run, number: int | None) -> tuple[int, dict[str, Any]]:
    """The call that the answer is for. RefusedError when the answer does not name a call that waits."""
    waiting = open_calls(run)
    if not waiting:
        fix = f"look: pancode inbox, and pancode why {run.id}"
        raise UsageError(f"no call of {run.id} waits for a person", fix=fix, code="nothing_asked")
    now = next(iter(waiting))
    if number is None:
        shown = {**waiting[now], "command": repr(waiting[now]["command"])}
        raise RefusedError(
            f"{run.id} asks about a command that your answer does not name",
            why=f"call {now} waits: {words_of_call(shown)}",
            fix=f"pancode approve --call {now} {run.id}, or: pancode deny --call {now} {run.id}",
            code="changed",
        )
    if number != now:
        raise RefusedError(
            f"call {number} of {run.id} does not wait now",
            why=f"it was answered, or its agent no longer waits; call {now} waits",
            fix="pancode inbox",
            code="changed",
        )
    return now, waiting[now]


def asked_of(row: Mapping[str, Any]) -> CallAsked:
    """The question in the form that the node knows."""
    return CallAsked(call=row["call"], command=row["command"], pattern=row["pattern"])


def words_of_call(row: Mapping[str, Any]) -> str:
    """The whole command and the rule, for the person who decides."""
    return f"{row['command']}   ({row['why']})"


def _closed(row: Mapping[str, Any], answer: str, by: str) -> dict[str, Any]:
    return {**row, "command": str(row["command"])[:KEPT_CHARS], "answer": answer, "by": by}


def _numbered(run: Run) -> list[tuple[int, dict[str, Any]]]:
    return list(enumerate(rows(run), start=1))
