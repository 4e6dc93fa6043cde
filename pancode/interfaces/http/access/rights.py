"""Names the rights that routes need: of a token, and of a run that asks for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import RefusedError
from pancode.kernel.ports import Ledger
from pancode.kernel.records import Run
from pancode.kernel.visitors import AccessScope, Risk
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work


class Right(NamedTuple):
    """The scope that a route needs, and the risk of what the route does."""

    scope: AccessScope
    risk: Risk


READS = Right(AccessScope.READ, Risk.LOOKS)
NOTES = Right(AccessScope.READ, Risk.ACTS)
TELLS = Right(AccessScope.ANSWER, Risk.ACTS)
ANSWERS = Right(AccessScope.ANSWER, Risk.SPENDS)
DECIDES = Right(AccessScope.ANSWER, Risk.FINAL)
DISPATCHES = Right(AccessScope.DISPATCH, Risk.SPENDS)
OPERATES = Right(AccessScope.OPERATE, Risk.ACTS)
TESTS = Right(AccessScope.OPERATE, Risk.SPENDS)
LANDS = DROPS = Right(AccessScope.OPERATE, Risk.FINAL)
BUDGETS = Right(AccessScope.BUDGET, Risk.ACTS)
SETTLES = Right(AccessScope.BUDGET, Risk.FINAL)
SEES_ALL = Right(AccessScope.ADMIN, Risk.LOOKS)
SETS_UP = Right(AccessScope.ADMIN, Risk.ACTS)
REMOVES = Right(AccessScope.ADMIN, Risk.FINAL)


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
