"""Routes of scouts: questions about a repository, answered by read-only runs or by what is known already."""

from __future__ import annotations

from typing import Any

from pancode.access.rights import DISPATCHES
from pancode.api.context import ApiContext
from pancode.api.document.answers import ExploreAnswer, ScoutShape
from pancode.api.request.bodies import ExploreBody
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import asked_by
from pancode.runs.exploring import Expedition, explore, scouted


def _explore(context: ApiContext, call: ApiCall) -> Any:
    body: ExploreBody = call.body
    request, parent, around = asked_by(context, call)
    asked = Expedition(body.questions, body.look, body.again)
    return {"scouts": explore(context.core, around, request, parent, asked)}


def _scouted(context: ApiContext, call: ApiCall) -> Any:
    return scouted(context.core, call.path["run"])


EXPLORE_VERBS: tuple[Verb, ...] = (
    Verb(
        "POST",
        "/v1/explore",
        _explore,
        ExploreBody,
        pokes=True,
        for_runs=True,
        right=DISPATCHES,
        answers=ExploreAnswer,
    ),
    Verb("GET", "/v1/explore/{run}", _scouted, answers=ScoutShape),
)
