"""Decides what a run may request from the API: it may read and dispatch child runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import RefusedError
from pancode.kernel.ports import Ledger
from pancode.kernel.records import Run
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work


class InsideRunError(RefusedError):
    """The error for a run that requests more than to read and to dispatch child runs."""

    code = "inside_run"


def run_of(ledger: Ledger, attempts: Sequence[AttemptId]) -> Run | None:
    """Return the run of the outermost of these attempts that this fleet knows; outermost attempts come last.
    A run can forge facts about its own child processes, but not about the processes above it."""
    if not attempts:
        return None
    with ledger.transaction() as tx:
        known = (tx.get(Run, attempt.run) for attempt in reversed(attempts))
        return next((run for run in known if run is not None), None)


def refuse_act(core: Core, run: Run, what: str) -> NoReturn:
    """Record the refusal in the audit log and raise it; the error says which user could do this instead."""
    with unit_of_work(core) as work:
        work.audit("trust", "warning", "refused from inside a run", run.id, asked=what)
    raise refused_error(run, what)


def refused_error(run: Run, what: str) -> InsideRunError:
    return InsideRunError(
        f"{what} is not allowed from inside run {run.id}",
        why="a run may only read, and start runs with no more rights than its own",
        fix=f"leave this to the user who started {run.id}",
    )
