"""Decides what a run may ask of the API: to look, and to dispatch child runs."""

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
    """A run may only look, and dispatch."""

    code = "inside_run"


def run_of(ledger: Ledger, attempts: Sequence[AttemptId]) -> Run | None:
    """Return the run of the outermost of these attempts that this fleet knows; the outermost stand last.

    What a run says of its own children counts less than what stands above it, where it cannot write.
    """
    if not attempts:
        return None
    with ledger.transaction() as tx:
        known = (tx.get(Run, attempt.run) for attempt in reversed(attempts))
        return next((run for run in known if run is not None), None)


def refuse_act(core: Core, run: Run, what: str) -> NoReturn:
    """Put the refusal on record, and raise it, with whose act this would be."""
    with unit_of_work(core) as work:
        work.audit("trust", "warning", "refused from inside a run", run.id, asked=what)
    raise refused_error(run, what)


def refused_error(run: Run, what: str) -> InsideRunError:
    return InsideRunError(
        f"{what} is not allowed from inside run {run.id}",
        why="a run may only read, and start runs with no more rights than its own",
        fix=f"leave it to the user who started {run.id}",
    )
