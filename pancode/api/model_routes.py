"""Routes of models that nodes offer: the test of one, with its steps as they happen."""

from __future__ import annotations

from typing import Any

from pancode.api.bodies import ExamBody
from pancode.api.context import ApiContext
from pancode.api.routing import ApiCall, Verb
from pancode.api.streaming import sse, steps
from pancode.control import exams
from pancode.control.faces import Progress, ProgressLine
from pancode.control.query import fleet as query_fleet
from pancode.control.query.shapes import ExamShape
from pancode.domain.passports import ModelPlace


def _test(context: ApiContext, call: ApiCall) -> Any:
    body: ExamBody = call.body
    if body.node is not None:
        with context.core.ports.ledger.transaction() as tx:
            query_fleet.known_node(tx, body.node)
    places = exams.where(context.core, body.model, body.node)

    def work(progress: Progress) -> Any:
        return {"tests": [_one(context, place, body.again, progress) for place in places]}

    return sse(steps(context, work))


def _one(context: ApiContext, place: ModelPlace, again: bool, progress: Progress) -> ExamShape:
    progress(ProgressLine(place.node, place.model, "started", exams.begun(context.core, place)))
    try:
        asked = exams.ask(context.core, place, again)
        context.poke()
        return exams.follow(context.core, asked, progress, context.closing.wait)
    except exams.NotTested as no:  # the other places are tested all the same
        return exams.given_up(place, no)


MODEL_VERBS: tuple[Verb, ...] = (Verb("POST", "/v1/models/test", _test, ExamBody),)
