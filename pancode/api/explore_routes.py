"""Routes of scouts: questions about a repository, answered by read-only runs or by what is known already."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.access.rights import DISPATCHES
from pancode.api.context import ApiContext
from pancode.api.request.bodies import ExploreBody
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import asked_by
from pancode.control.shapes import ScoutShape
from pancode.runs.exploring import Expedition, explore, scouted


class ExploreAnswer(TypedDict):
    """A row for each question, in their order."""

    scouts: list[ScoutShape]


@Verb("POST /v1/explore", ExploreBody, "explore", pokes=True, for_runs=True, right=DISPATCHES)
def _explore(context: ApiContext, call: ApiCall) -> ExploreAnswer:
    """Send scouts out with questions; what is known is answered."""
    body: ExploreBody = call.body
    request, parent, around = asked_by(context, call)
    asked = Expedition(body.questions, body.look, body.again)
    return {"scouts": explore(context.core, around, request, parent, asked)}


@Verb("GET /v1/explore/{run}")
def _scouted(context: ApiContext, call: ApiCall) -> ScoutShape:
    """What one of them has found."""
    return scouted(context.core, call.path["run"])
