"""Routes of the history: what runs in a repository decided, did and left open; search, show, forget."""

from __future__ import annotations

from typing import Any

from pancode.access.rights import DROPS
from pancode.api.context import ApiContext
from pancode.api.document.answers import ForgottenAnswer, HistoryAnswer, NoteShape
from pancode.api.request.bodies import ForgetBody
from pancode.api.routing import ApiCall, Verb
from pancode.control.paging import MOST_ROWS
from pancode.errors import UsageError
from pancode.runs.history import Forgotten, forget, search, show


def _search(context: ApiContext, call: ApiCall) -> Any:
    """Of the repository in which the caller stands; of all outside of one, or with `all`."""
    project = None if call.flag("all") else context.project_of(call.query.get("cwd"))
    limit = call.number("limit", 20, MOST_ROWS)
    return {"repository": project, "notes": search(context.core, project, call.query.get("text", ""), limit)}


def _show(context: ApiContext, call: ApiCall) -> Any:
    return show(context.core, call.path["run"])


def _forget(context: ApiContext, call: ApiCall) -> Any:
    body: ForgetBody = call.body
    project = None if body.everywhere else context.project_of(body.cwd)
    if body.before is not None and project is None and not body.everywhere:
        raise UsageError(
            "no repository was named whose notes should be forgotten",
            fix="stand in the repository, or say --everywhere",
            code="bad_value",
        )
    return {"forgotten": forget(context.core, Forgotten(body.runs, body.before, project), body.by)}


HISTORY_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/history", _search, query=("cwd", "text", "limit", "all"), answers=HistoryAnswer),
    Verb("GET", "/v1/history/{run}", _show, answers=NoteShape),
    Verb("POST", "/v1/history/forget", _forget, ForgetBody, right=DROPS, answers=ForgottenAnswer),
)
