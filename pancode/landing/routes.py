"""Routes for landings and their queues."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from node_agent.wire.failure import Outcome
from pancode.git.forge_rules import ForgeKind
from pancode.git.landings import LandStatus
from pancode.interfaces.http.access.rights import CHANGES, LANDS, OPERATES
from pancode.interfaces.http.bodies import ActBody, LandBody, Line, ReasonBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import WorkspaceError
from pancode.kernel.formatting import format_landing, format_outcome
from pancode.kernel.names import LAST
from pancode.kernel.records import Run
from pancode.kernel.states import How
from pancode.kernel.visitors import AccessScope, must_have
from pancode.landing import answers
from pancode.landing.git.change_store import DepotCode
from pancode.landing.pull_request import PullAsked
from pancode.landing.queue import drop_change, list_landable, propose_landing
from pancode.runs import answers as shapes
from pancode.runs.facts import Lineage
from pancode.runs.views import get_run_shape
from pancode.runs.whole_changes import find_newest_interactive_run, get_suspended


class PullRequestBody(ActBody):
    """Options of a pull request. `remote`: name of the git remote. `forge` None: as in the settings.
    `follow`: send failed checks and remarks to the agent."""

    remote: Annotated[Line, Field(min_length=1, max_length=200)]
    branch: Annotated[Line, Field(min_length=1, max_length=200)]
    message: str = Field(default="", max_length=20_000)
    forge: ForgeKind | None = None
    follow: bool = False


def _code(context: ApiContext) -> DepotCode:
    return context.coordinator.part(DepotCode)


def _find_run(context: ApiContext, call: ApiCall) -> Run:
    return find_newest_interactive_run(context.core, call.path["run"])


def _get_suspended_run(context: ApiContext, call: ApiCall) -> Run:
    return get_suspended(context.core, call.path["run"])


def _unless_elsewhere(context: ApiContext, call: ApiCall, run: Run) -> None:
    """Raise WorkspaceError if the landing would write into another repository than the user's current one.

    Outside of a repository, the user must name the run, as `last` may be another user's run.
    """
    here = context.coordinator.around({}).project_of(call.folder) if call.folder else None
    named = not call.path["run"].startswith(LAST)
    if run.project not in (None, here) and Path(call.folder).is_relative_to(str(run.project)):
        raise WorkspaceError(
            f"{run.project}, the repository of {run.id}, is no longer a git repository",
            why=f"the current directory is inside that path, but git finds {here or 'no repository'} there",
            fix=f"restore the repository, or save the change as a patch: pancode diff {run.id} > "
            "change.patch",
            code="no_repository",
        )
    if not call.folder or run.project in (None, here) or (here is None and named):
        return
    raise WorkspaceError(
        f"{run.id} belongs to another repository: {run.project}",
        why=f"the change would be written to the current repository, {here or call.folder}",
        fix=f"pancode -C {shlex.quote(str(run.project))} land {run.id}",
        code="other_repository",
    )


@Verb(answers.LANDINGS, command="land", query=("before",))
def _landings(context: ApiContext, call: ApiCall) -> answers.LandingsAnswer:
    """Return the waiting landings, in order."""
    named = call.query.get("before")
    before = find_newest_interactive_run(context.core, named) if named else None
    return {"landings": _code(context).landings(before)}


@Verb(answers.GREEN, command="land", query=("folder",))
def _green(context: ApiContext, call: ApiCall) -> answers.GreenAnswer:
    """Return the runs of a repository that are done, passed their gates and have not landed."""
    return {"runs": list_landable(context.core, _find_project(context, call))}


@Verb(shapes.LAND, LandBody, "land", right=LANDS, starts=True)
def _land(context: ApiContext, call: ApiCall[LandBody]) -> shapes.LandAnswer:
    """Land the run; answer when the landing has ended."""
    body = call.body
    if call.inside is not None:
        propose_landing(context.core, call.path["run"], call.inside.agent)
        words = "approval is requested from a user, in the inbox; nothing has landed yet"
        landed: Any = {"run": call.path["run"], "status": "asked", "words": words}
        answer: shapes.LandAnswer = landed
        return answer
    run = _get_suspended_run(context, call)
    if not body.elsewhere:
        _unless_elsewhere(context, call, run)
    if body.pull_to:
        _code(context).check_pull(run, body.pull_to, body.forge, body.follow)
    if run.outcome not in (None, Outcome.DONE) and not body.anyway:
        changed = run.result.get("change") not in ("no_change", "empty") or Lineage.of(run).continues
        land = f"see: pancode diff {run.id}; then: {format_landing(run.id, run.outcome)}"
        again = f"it made no changes; see: pancode why {run.id}; to try again: pancode runs retry {run.id}"
        raise WorkspaceError(
            f"{run.id} ended as {format_outcome(run.outcome)}",
            why=run.reason,
            fix=land if changed else again,
            code="not_done",
        )
    how = context.coordinator.around({}).defaults(run.project).land_how
    landed = {"run": run.id, **_code(context).land(run, body.landing(How(how)), body.wait)}
    answer = landed
    if answer["status"] == LandStatus.LANDED and (shown := _describe_landing(context, run)):
        answer["tracker"] = shown
    return answer


def _describe_landing(context: ApiContext, run: Run) -> str:
    return " ".join(filter(None, (part.describe_landing(run) for part in context.coordinator.parts)))


@Verb(shapes.TRACKER, command="land")
def _tracker(context: ApiContext, call: ApiCall) -> shapes.TrackerAnswer:
    """What the tracker of a landed run's issue shows; it may take seconds."""
    return {"tracker": _describe_landing(context, _find_run(context, call))}


def _find_project(context: ApiContext, call: ApiCall) -> str:
    folder = call.query.get("folder", "")
    project = context.coordinator.around({}).project_of(folder) if folder else None
    if project is None:
        what = f"{folder} is not in a git repository" if folder else "the request does not name a directory"
        raise WorkspaceError(what, fix="run the command in your repository")
    return project


@Verb(answers.RESOLVE, LandBody, "land", pokes=True, status=201, right=LANDS, starts=True)
def _resolve(context: ApiContext, call: ApiCall[LandBody]) -> shapes.QueuedAnswer:
    """Start a run that resolves the run's merge conflict and lands the result."""
    run, around = _get_suspended_run(context, call), context.coordinator.around({})
    if not call.body.elsewhere:
        _unless_elsewhere(context, call, run)
    way = call.body.landing(How(around.defaults(run.project).land_how))
    return _code(context).resolve(around, run, way)


@Verb(answers.PULL_REQUEST, PullRequestBody, "land", right=LANDS)
def _pull_request(context: ApiContext, call: ApiCall[PullRequestBody]) -> answers.PullRequestShape:
    """Open a pull request for a change that has landed and is pushed."""
    body = call.body
    if body.follow:
        must_have(AccessScope.DISPATCH, "work on a pull request's checks and remarks")
    request = PullAsked(body.by, body.remote, body.branch, body.message, body.forge, follow=body.follow)
    parts = context.coordinator.parts
    return _code(context).pull_request(_get_suspended_run(context, call), request, parts)


@Verb(answers.DROP, ReasonBody, "inbox drop", right=CHANGES)
def _drop(context: ApiContext, call: ApiCall[ReasonBody]) -> shapes.RunShape:
    """Discard the run's change, and remove its end from what waits for a user."""
    run = _find_run(context, call)
    _code(context).call_off(run)  # End a landing that is being written now.
    drop_change(context.core, run.id, call.body.by)
    return get_run_shape(context.core, run.id)


@Verb(shapes.CALL_OFF, ReasonBody, right=OPERATES)
def _call_off(context: ApiContext, call: ApiCall) -> shapes.CalledOffAnswer:
    """Call off a landing of the run."""
    run = _find_run(context, call)
    return {"run": run.id, "landings": _code(context).call_off(run)}
