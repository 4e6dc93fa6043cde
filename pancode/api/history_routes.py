"""Routes of notes of runs, and of scouts that are sent out with questions."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.access.rights import DISPATCHES, DROPS
from pancode.api.context import ApiContext
from pancode.api.request.bodies import ExploreBody, ForgetBody
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import asked_by
from pancode.control.paging import MOST_ROWS
from pancode.control.shapes import NoteShape, ScoutShape
from pancode.errors import UsageError
from pancode.runs.exploring import Expedition, explore, scouted
from pancode.runs.history import Forgotten, forget, search, show


class HistoryAnswer(TypedDict):
    """`repository` null: of all."""

    repository: str | None
    notes: list[NoteShape]


class ForgottenAnswer(TypedDict):
    """The runs that had the notes."""

    forgotten: list[str]


@Verb("GET /v1/history", command="history", query=("cwd", "text", "limit", "all"))
def _search(context: ApiContext, call: ApiCall) -> HistoryAnswer:
    """What runs decided, did and left open.

    Of the repository in which the caller stands; of all outside of one, or with `all`.
    """
    project = None if call.flag("all") else context.project_of(call.query.get("cwd"))
    limit = call.number("limit", 20, MOST_ROWS)
    return {"repository": project, "notes": search(context.core, project, call.query.get("text", ""), limit)}


@Verb("GET /v1/history/{run}", command="history show")
def _show(context: ApiContext, call: ApiCall) -> NoteShape:
    """The note of one run."""
    return show(context.core, call.path["run"])


@Verb("POST /v1/history/forget", ForgetBody, "history forget", right=DROPS)
def _forget(context: ApiContext, call: ApiCall) -> ForgottenAnswer:
    """Delete notes; runs and receipts stay."""
    body: ForgetBody = call.body
    project = None if body.everywhere else context.project_of(body.cwd)
    if body.before is not None and project is None and not body.everywhere:
        raise UsageError(
            "no repository was named whose notes should be forgotten",
            fix="stand in the repository, or say --everywhere",
            code="bad_value",
        )
    return {"forgotten": forget(context.core, Forgotten(body.runs, body.before, project), body.by)}


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
