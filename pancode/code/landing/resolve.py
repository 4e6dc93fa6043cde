"""`land --resolve`: dispatches a run whose task is the conflict, and which is landed when it passes."""

from __future__ import annotations

from pancode.code.landing.lander import Lander
from pancode.code.landing.resolving import resolving
from pancode.control.core import Core
from pancode.control.surroundings import Surroundings
from pancode.core.records import Run
from pancode.core.visitors import must_ask
from pancode.dispatch.dispatch import Dispatched, dispatch
from pancode.errors import UsageError
from pancode.life.land_values import LandWay
from pancode.runs.retry import request_of


def resolve(core: Core, lander: Lander, around: Surroundings, run: Run, way: LandWay) -> Dispatched:
    """Through the same ten gates. UsageError where nothing conflicts; AccessError, RefusedError ..."""
    must_ask(f"the landing of {run.id}", lands=True, says_yes=way.says_yes)
    state = lander.conflict(run, way.branch)
    if not state.files:
        where = f" --branch {way.branch}" if way.branch else ""
        raise UsageError(
            f"the change of {run.id} does not conflict",
            fix=f"pancode land {run.id}{where}",
            code="no_conflict",
        )
    return dispatch(core, around, resolving(run, request_of(run, way.by), state, way))
