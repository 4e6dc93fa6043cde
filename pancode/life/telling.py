"""Words of a person for a run: with its task, at a turn of its agent, or kept until it is continued."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from node_agent.wire.order import MAX_TASK_BYTES
from pancode.agents.runtimes import RUNTIMES
from pancode.core.records import Run
from pancode.core.values import replace
from pancode.errors import UsageError

MOST_CHARS, MOST_KEPT = 10_000, 20
WITH_TASK = "with its task"
AT_A_TURN = "at a turn of attempt "


def with_words(run: Run, text: str, by: str, now_ms: int, waits: bool) -> Run:
    """The run with more words. `waits`: no order is signed yet, so its task can still get the words.

    UsageError for a run that takes no words, and when it keeps too many already.
    """
    _must_take(run, text)
    row = {"by": by, "at_ms": now_ms, "text": text, "delivered": WITH_TASK if waits else ""}
    run = replace(run, terms={**run.terms, "told": [*rows(run), row]})
    return replace(run, task=f"{run.task}\n\nA person adds: {text}") if waits else run


def _must_take(run: Run, text: str) -> None:
    if RUNTIMES[run.runtime].own:
        raise UsageError(
            f"{run.id} runs a command, so it cannot be given words",
            fix=f"pancode runs show {run.id}",
            code="takes_no_words",
        )
    if not text.strip() or len(text) > MOST_CHARS:
        fix = f"say it in 1 to {MOST_CHARS} characters; longer: pancode runs continue {run.id}"
        raise UsageError("there are no words, or too many", fix=fix, code="bad_words")
    if len(kept(run)) >= MOST_KEPT or len(run.task.encode()) + len(text.encode()) > MAX_TASK_BYTES - 1_000:
        fix = f"pancode runs continue {run.id}"
        raise UsageError(f"{run.id} can keep no more words", fix=fix, code="too_much_told")


def rows(run: Run) -> list[dict[str, Any]]:
    """All words for the run."""
    return run.terms.get("told", [])


def kept(run: Run) -> list[str]:
    """The words that no agent got."""
    return [str(one["text"]) for one in rows(run) if not one["delivered"]]


def unheard(run: Run) -> dict[int, str]:
    """The words that this attempt's agent did not get, by number; those of earlier attempts come again."""
    here = (WITH_TASK, f"{AT_A_TURN}{run.attempt}")
    found = enumerate(rows(run), start=1)
    return {number: str(row["text"]) for number, row in found if _open(row) and row["delivered"] not in here}


def heard(run: Run, numbers: Collection[int], attempt: int) -> Run:
    """The run after this attempt's agent got these words."""
    updated = [
        {**row, "delivered": f"{AT_A_TURN}{attempt}"} if number in numbers and _open(row) else row
        for number, row in enumerate(rows(run), start=1)
    ]
    return replace(run, terms={**run.terms, "told": updated}) if updated else run


def _open(row: Mapping[str, Any]) -> bool:
    """Whether an attempt may still get the words."""
    return not row["delivered"] or str(row["delivered"]).startswith(AT_A_TURN)


def delivered(run: Run, by: str) -> Run:
    """The run after another one, `by`, got all words that it kept."""
    if not kept(run):
        return run
    updated = [{**one, "delivered": one["delivered"] or by} for one in rows(run)]
    return replace(run, terms={**run.terms, "told": updated})
