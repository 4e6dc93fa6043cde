"""Routes of health and recovery: what works, what is stuck, and continuing runs that ended badly."""

from __future__ import annotations

from pancode.fleet.health import get_health
from pancode.interfaces.http.access.rights import DISPATCHES
from pancode.interfaces.http.bodies import ActBody, Name
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.runs import answers
from pancode.runs.answers import HealthShape, RecoveredAnswer
from pancode.runs.recovery import plan_recovery, recover_run


class RecoverBody(ActBody):
    """`run`: a run, or an agent's name for its newest run that ended badly; null: all such of the last day.

    `dry_run`: only return which runs would continue, and how.
    """

    run: Name | None = None
    dry_run: bool = False


@Verb(answers.HEALTH, command="status")
def _health(context: ApiContext, call: ApiCall) -> HealthShape:
    """Return the state of each node and of each agent that has work, with the reason."""
    return get_health(context.core)


def _has_landing(context: ApiContext, call: ApiCall) -> bool:
    """Whether one of the runs should land its change and has not landed it."""
    found = plan_recovery(context.core, call.body.run)
    return any(one.run.land and one.run.landed is None for one in found)


@Verb(answers.RECOVER, RecoverBody, "runs recover", pokes=True, right=DISPATCHES, lands=_has_landing)
def _recover(context: ApiContext, call: ApiCall[RecoverBody]) -> RecoveredAnswer:
    """Continue runs that ended badly."""
    body = call.body
    core, around = context.core, context.coordinator.around({})
    found = plan_recovery(core, body.run)
    if body.dry_run:
        rows = [one.told() for one in found]
    else:
        rows = [recover_run(core, around, one, body.by) for one in found]
    return {"runs": rows}
