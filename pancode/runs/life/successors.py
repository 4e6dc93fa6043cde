"""Which runs go on from a run, and whether another one may: from its change, or with an answer."""

from __future__ import annotations

from node_agent.wire.failure import Outcome
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.records import Run, RunState, SessionRow
from pancode.runs.facets import Lineage
from pancode.runs.request import Beginning
from pancode.runs.retention.parts import must_have_changes

NEXT = "continued_by"
"""The key in a run's result that lists the runs that go on from it, oldest first."""


def must_have_ended(old: Run) -> None:
    """UsageError while the run is at work, and when it is lost, as then no result is known."""
    if old.state is not RunState.ENDED:
        fix = f"wait for its end: pancode runs logs -f {old.id}; or: pancode runs stop {old.id}"
        raise UsageError(f"{old.id} has not ended: it is {old.state}", fix=fix, code="not_ended")
    if old.outcome is Outcome.LOST:
        why = "its node did not answer, so there is no result to continue from"
        if old.takes_turns:
            why += "; a retry says its words again, with all that its session had before it"
        raise UsageError(f"{old.id} is lost", why=why, fix=f"pancode runs retry {old.id}", code="no_result")


def must_be_free(old: Run) -> None:
    """RefusedError when the run was continued already, as by the faster one of two users who answer."""
    if list_next_runs(old):
        newest = list_next_runs(old)[-1]
        raise RefusedError(
            f"{old.id} was already continued by {newest}",
            why="another request was faster",
            fix=f"pancode runs show {newest}; to continue that one: pancode runs continue {newest}",
            code="already_continued",
        )


def must_be_open(session: SessionRow) -> None:
    """RefusedError when a user has ended the session."""
    if session.closed_by is not None:
        raise RefusedError(
            f"{session.closed_by} ended the session of {session.run}",
            fix=f'continue it: pancode attach {session.run} "..."',
            code="session_ended",
        )


def is_blocked(run: Run) -> bool:
    """Whether the run has ended because a user must decide how it goes on."""
    return run.state is RunState.ENDED and run.outcome is Outcome.BLOCKED


def list_next_runs(run: Run) -> tuple[str, ...]:
    """The runs that go on from this run."""
    found = run.result.get(NEXT)
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def has_change(run: Run) -> bool:
    """Whether the result has a change: the run's own, or one of the runs that it goes on from."""
    return run.result.get("commit") is not None or Lineage.of(run).carries


def find_beginning(old: Run) -> Beginning | None:
    """The commit where the new run begins: the old result, else the old snapshot; None: no repository."""
    place, commit = old.workspace, old.result.get("commit") or old.workspace.get("snapshot")
    if place.get("kind") != "git" or commit is None:
        return None
    must_have_changes(old)
    base = place.get("base")
    form = str(place.get("object_format") or "sha1")
    carries = has_change(old) and old.landed is None
    base = None if base is None else str(base)
    return Beginning(old.id, str(place["repo"]), str(commit), base, form, carries)
