"""Stops a run: a waiting one at once, any other by a signed message that its node must confirm."""

from __future__ import annotations

from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.records import Run, RunState
from pancode.runs.core import Core, hold_lock
from pancode.runs.life.ends import Stop
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import get_run


def stop_run(core: Core, run_id: str, reason: str) -> Run:
    """Request the run's end and return the run; if the run has already ended, cancel its landing."""
    with unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        if run is None:
            raise NotFoundError(f"run {run_id} not found", fix="pancode runs")
        return work.signal(run, Stop(reason))


@hold_lock
def stop_waiting(core: Core, text: str, reason: str) -> Run:
    """Take the run that this text names out of the queue. UsageError if a node already has it."""
    run = get_run(core, text)
    if run.state is not RunState.PENDING:
        raise UsageError(
            f"{run.id} is not waiting: it is {run.state}",
            fix=f"pancode runs {'show' if run.state is RunState.ENDED else 'stop'} {run.id}",
            code="not_waiting",
        )
    return stop_run(core, run.id, reason)
