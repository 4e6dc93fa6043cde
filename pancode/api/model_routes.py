"""Routes of model tests, with their steps as they happen."""

from __future__ import annotations

from typing import Any

from pancode.api.bodies import ExamBody
from pancode.api.context import ApiContext
from pancode.api.routing import ApiCall, Verb
from pancode.api.streaming import sse, steps
from pancode.control.faces import Progress


def _test(context: ApiContext, call: ApiCall) -> Any:
    body: ExamBody = call.body
    models = context.plane.models
    places = models.places(body.model, body.node)
    ends = context.closing.wait

    def work(progress: Progress) -> Any:
        return {"tests": [models.test(one, body.again, progress, context.poke, ends) for one in places]}

    return sse(steps(context, work))


MODEL_VERBS: tuple[Verb, ...] = (Verb("POST", "/v1/models/test", _test, ExamBody),)
