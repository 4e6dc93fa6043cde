"""Derives the narrow row of a run that has ended from the run and its books."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from pancode.account.track_records import kind_of
from pancode.core import books
from pancode.core.records import Attempt, BookEntry, EndedRun, EntryKind, Run, RunState
from pancode.life.continuing import has_change, nexts
from pancode.life.landing import REVERTED
from pancode.life.receipts import cost_of
from pancode.life.verified import CLOSED, ResultTrust, verified

SPENT = (EntryKind.SPEND, EntryKind.CORRECT, EntryKind.UNKNOWN)
"""Kinds of entries that say what was spent."""
FAULTS = (Outcome.LOST, Outcome.INFRA, Outcome.VERIFY_FAILED)
"""Ends that a person wants to see."""


def ended_run(run: Run, attempts: Collection[Attempt], entries: Iterable[BookEntry]) -> EndedRun | None:
    """None: it has not ended."""
    if run.state is not RunState.ENDED or run.outcome is None or run.finished_ms is None:
        return None
    booked = [entry for entry in entries if entry.kind in SPENT and books.is_day(entry.scope)]
    times = [entry.at_ms for entry in booked]
    return EndedRun(
        run=run.id,
        ended_ms=run.finished_ms,
        agent=run.agent,
        model=run.model,
        runtime=run.runtime,
        kind=kind_of(run.task),
        repository=run.project,
        node=_node(run),
        outcome=run.outcome,
        started=run.started_ms is not None,
        counts=_counts(run),
        judges=run.judges is not None,
        landed=bool(run.landed),
        reverted=REVERTED in run.result,
        left=is_left(run),
        retry_of=run.retry_of,
        ms=max(0, run.finished_ms - (run.started_ms or run.finished_ms)),
        usd=books.plus(*(entry.usd for entry in booked)),
        tokens=sum(entry.tokens for entry in booked),
        agent_ms=sum(entry.agent_ms for entry in booked),
        unknown=cost_of(attempts)[1],
        first_ms=min(times, default=None),
        last_ms=max(times, default=None),
    )


def _counts(run: Run) -> bool:
    """Faults of ours, of a machine or of a model server, questions, and what people stopped are left out."""
    proven = run.result.get("receipt") is not None and run.judges is None
    return proven and (run.outcome is Outcome.DONE or _is_agents_fault(run.failure))


def _is_agents_fault(failure: FailureKind | None) -> bool:
    return failure is not None and FAILURES[failure].agent


def is_left(run: Run) -> bool:
    """It failed by no fault of its agent's task, or has a change on which nobody has decided."""
    if run.judges is not None or nexts(run):  # a run that goes on from it has its change
        return False
    return is_at_fault(run) or _is_unlanded(run)


def is_at_fault(run: Run) -> bool:
    """Whether a person wants to see its end, with or without a change."""
    seen = verified(run)
    return run.outcome in FAULTS or (seen is not None and seen.state is ResultTrust.DISPUTED)


def _is_unlanded(run: Run) -> bool:
    is_open = run.landed is None and run.landing.get("status") not in CLOSED
    return run.outcome is Outcome.DONE and is_open and has_change(run)


def _node(run: Run) -> str | None:
    node = run.result.get("node")
    return node if isinstance(node, str) else None
