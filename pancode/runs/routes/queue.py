"""Routes of queues: list what waits, pause and resume queues, and take runs out."""

from __future__ import annotations

from pancode.config.fleet_settings import pause_queue
from pancode.interfaces.http.access.rights import OPERATES
from pancode.interfaces.http.bodies import QueueBody, ReasonBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.runs import answers
from pancode.runs.answers import PausedAnswer, QueuesShape, RunShape
from pancode.runs.lists import list_queues
from pancode.runs.stop import stop_waiting
from pancode.runs.views import get_run_shape


@Verb(answers.QUEUES, command="runs ls", query=("name",))
def _queues(context: ApiContext, call: ApiCall) -> QueuesShape:
    """List the waiting runs of each queue."""
    return list_queues(context.core, call.query.get("name"))


@Verb(answers.PAUSE, QueueBody, "fleet drain", pokes=True, right=OPERATES)
def _pause(context: ApiContext, call: ApiCall[QueueBody]) -> PausedAnswer:
    """Pause the fleet or a queue."""
    body = call.body
    return _set_pause(context, body, body.reason or f"paused by {body.by}")


@Verb(answers.RESUME, QueueBody, "fleet resume", pokes=True, right=OPERATES)
def _resume(context: ApiContext, call: ApiCall[QueueBody]) -> PausedAnswer:
    """Resume the fleet or a queue."""
    return _set_pause(context, call.body, None)


def _set_pause(context: ApiContext, body: QueueBody, reason: str | None) -> PausedAnswer:
    """Pause or resume the whole fleet, one node's queue, or one pool."""
    pause_queue(context.core, body.queue, reason, body.by)
    return {"queue": body.queue, "paused": reason}


@Verb(answers.TAKE_OUT, ReasonBody, "stop", pokes=True, right=OPERATES)
def _take_out(context: ApiContext, call: ApiCall[ReasonBody]) -> RunShape:
    """Take a waiting run out of the queue.

    A run that a node already has must be stopped instead (`pancode runs stop`).
    """
    body = call.body
    reason = body.reason or f"taken out of the queue by {body.by}"
    return get_run_shape(context.core, stop_waiting(context.core, call.path["run"], reason).id)
