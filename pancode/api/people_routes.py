"""Routes with which people have a say: runs are continued."""

from __future__ import annotations

from typing import Any

from pancode.api.bodies import ContinueBody
from pancode.api.context import ApiContext
from pancode.api.routing import ApiCall, Verb


def _continue(context: ApiContext, call: ApiCall) -> Any:
    body: ContinueBody = call.body
    runs, around = context.plane.runs, context.coordinator.around({})
    old = runs.find(call.path["run"])
    return runs.queued(context.plane.people.continue_run(around, old, body.text, body.by))


PEOPLE_VERBS: tuple[Verb, ...] = (
    Verb("POST", "/v1/runs/{run}/continue", _continue, ContinueBody, pokes=True, status=201),
)
