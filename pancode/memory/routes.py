"""Routes for notes of runs and for questions to scouts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.agents.prompts import CHARS_PER_TOKEN
from pancode.interfaces.http.access.rights import DISPATCHES, DROPS
from pancode.interfaces.http.bodies import ActBody, CallerSettings, Name
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import UsageError
from pancode.kernel.pages import MOST_ROWS
from pancode.memory import answers
from pancode.memory.scout_rules import MOST_QUESTION, MOST_QUESTIONS, Depth
from pancode.memory.scout_service import Expedition, explore, get_scout
from pancode.memory.service import (
    Forgotten,
    WorkPlace,
    delete_notes,
    find_place,
    get_note,
    recall_notes,
    search_notes,
)
from pancode.runs.request import DispatchRequest, request_from
from pancode.runs.routes.runs import resolve_request


class ExploreBody(ActBody, CallerSettings):
    """Questions about the repository around `cwd`. `again`: ask even if an answer is known."""

    questions: tuple[Annotated[str, Field(min_length=1, max_length=MOST_QUESTION)], ...] = Field(
        min_length=1, max_length=MOST_QUESTIONS
    )
    look: Depth = Depth.MEDIUM
    """How far each scout looks."""
    again: bool = False
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    parent: str | None = None
    depth: int = Field(default=0, ge=0, le=1_000)
    node: Name | None = None
    model: Name | None = None
    runtime: Name | None = None
    yes: bool = False
    """A user has approved this dispatch."""

    def request(self) -> DispatchRequest:
        settings = {name: getattr(self, name) for name in ("cwd", "depth", "node", "model", "runtime")}
        return request_from({**settings, "confirmed": self.yes, "preset": self.preset or ""}, self.by)


class ForgetBody(ActBody):
    """Which notes to delete. `before`: all older than this, in the repository of `cwd` or `everywhere`."""

    runs: tuple[Name, ...] = Field(default=(), max_length=1_000)
    before: Name | None = None
    cwd: Name | None = None
    everywhere: bool = False


@Verb(answers.HISTORY, command="history find", query=("cwd", "text", "limit", "all", "lane", "workspace"))
def _search(context: ApiContext, call: ApiCall) -> answers.HistoryAnswer:
    """Return notes of what runs decided, did and left open.

    They are of a lane or workspace, else of the repository of the caller's folder, else of all repositories.
    """
    place = WorkPlace(None) if call.flag("all") else _place(context, call)
    notes = search_notes(context.core, place, call.query.get("text", ""), call.number("limit", 20, MOST_ROWS))
    return {"repository": place.project, "notes": notes}


@Verb(answers.REMEMBERED, command="history find", query=("cwd", "text", "lane", "workspace"))
def _remembered(context: ApiContext, call: ApiCall) -> answers.RememberedAnswer:
    """Return the notes that a new run in the lane, the workspace or the repository would get."""
    place = _place(context, call)
    budget = context.coordinator.around({}).defaults(place.project).history_tokens
    given = recall_notes(context.core, place, call.query.get("text", ""), budget)
    return {
        "repository": place.project,
        "workspace": place.workspace or None,
        "lane": call.query.get("lane"),
        "budget": budget,
        "used": -(-sum(len(one.text) for one in given) // CHARS_PER_TOKEN),
        "given": [
            {"run": one.run, "text": one.text, "tokens": -(-len(one.text) // CHARS_PER_TOKEN)}
            for one in given
        ],
    }


def _place(context: ApiContext, call: ApiCall) -> WorkPlace:
    """Return the lane, workspace or repository that the caller names; NotFoundError if it does not exist."""
    lane, workspace = call.query.get("lane") or "", call.query.get("workspace") or ""
    return find_place(context.core, context.project_of, lane, workspace, call.query.get("cwd"))


@Verb(answers.NOTE, command="history show")
def _show(context: ApiContext, call: ApiCall) -> answers.NoteShape:
    """Return the note of one run."""
    return get_note(context.core, call.path["run"])


@Verb(answers.FORGET, ForgetBody, "history forget", right=DROPS)
def _forget(context: ApiContext, call: ApiCall[ForgetBody]) -> answers.ForgottenAnswer:
    """Delete notes; runs and receipts remain."""
    body = call.body
    project = None if body.everywhere else context.project_of(body.cwd)
    if body.before is not None and project is None and not body.everywhere:
        raise UsageError(
            "a repository or --everywhere is required",
            fix="change to the repository, or add --everywhere",
            code="bad_value",
        )
    return {"forgotten": delete_notes(context.core, Forgotten(body.runs, body.before, project), body.by)}


@Verb(answers.EXPLORE, ExploreBody, "workflow explore", pokes=True, for_runs=True, right=DISPATCHES)
def _send_scouts(context: ApiContext, call: ApiCall[ExploreBody]) -> answers.ExploreAnswer:
    """Start scouts for questions; return known answers at once."""
    body = call.body
    request, parent, around = resolve_request(context, call)
    expedition = Expedition(body.questions, body.look, body.again)
    return {"scouts": explore(context.core, around, request, parent, expedition)}


@Verb(answers.SCOUT)
def _get_finding(context: ApiContext, call: ApiCall) -> answers.ScoutShape:
    """Return what one scout has found."""
    return get_scout(context.core, call.path["run"])
