"""Routes of projects: named repositories with defaults, and their trackers' webhooks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import Annotated, Any, cast

from pydantic import Field

from pancode.config.answers import ChangeAnswer
from pancode.config.changes import AskedChange, ChangeKind, make_change
from pancode.config.projects import LabelSettings
from pancode.config.routes import change_makers
from pancode.config.schema import BY_NAME
from pancode.config.settings_json import value_of
from pancode.config.units import GpuCount, Size
from pancode.git.forge_rules import TrackerKind
from pancode.interfaces.http.access.request_filter import HOOKS
from pancode.interfaces.http.access.rights import DISPATCHES, SETS_UP
from pancode.interfaces.http.access.tokens import count_failure
from pancode.interfaces.http.bodies import ActBody, Labels, Line, Name, SignedBody, Usd
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, TcpAccess, Verb
from pancode.issues.model import must_name_accounts, place_of, tracker_of
from pancode.issues.prd import draft_task, read_draft
from pancode.kernel.declared import leave_out_unset, to_json
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.shell_words import split_words
from pancode.kernel.signature_check import must_be_of
from pancode.kernel.visitors import AccessError
from pancode.runs.declared_models import with_values
from pancode.runs.project_rules import (
    CHANGES,
    NamedProject,
    find_project,
    must_be_alone,
    must_be_the_same,
    name_for,
    project_name,
)
from pancode.runs.user_environment import Surroundings
from pancode.workspaces import answers
from pancode.workspaces.service import tracker_secret

Fact = Annotated[Line, Field(max_length=200)]
Login = Annotated[str, Field(pattern=r"^@?[^\s@,]{1,100}$")]


class TrackerHookBody(ActBody):
    """`secret`: the secret that the tracker created; without it, a new secret replaces the old one."""

    secret: Annotated[str, Field(pattern=r"^[!-~]{16,200}$")] | None = None


_TYPES: Mapping[str, Any] = {
    "Prefix": Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z0-9]{0,31})?$")],
    "Gates": Annotated[tuple[str, ...], Field(max_length=50)],
    "Names": Annotated[tuple[Name, ...], Field(max_length=50)],
    "Logins": Annotated[tuple[Login, ...], Field(max_length=50)],
    "LabelRules": Annotated[dict[Fact, LabelSettings], Field(max_length=50)],
    **{"Name": Name, "Fact": Fact, "Labels": Labels, "Money": Usd, "Gpus": GpuCount, "Size": Size},
    "bool": bool,
}


@with_values(CHANGES, _TYPES)
class ProjectBody(ActBody):
    """A project to add or to change; omitted fields do not change.

    `path`: a folder in its repository. `name`: default: the name of that folder. `budget` in USD,
    `gpu_memory` in bytes. `prefix`: with a tracker, it defaults to that of Linear's team or the letters of
    the project's name. `prd`: absolute or below the top; empty: search for it.
    """

    path: Annotated[str, Field(min_length=1, max_length=4_096)] | None = None
    name: Name | None = None

    def change(self, old: NamedProject) -> NamedProject:
        """Return the project with the given values."""
        values = {name: given for name in CHANGES if (given := getattr(self, name)) is not None}
        if values.get("tracker"):
            place = tracker_of(values["tracker"])
            team = place.repository.name if place.kind is TrackerKind.LINEAR else old.name
            values.setdefault("prefix", old.prefix or re.sub(r"[^A-Za-z0-9]|^[0-9]+", "", team)[:32].upper())
        if "labels" in values:
            values["labels"] = {label: rule.rule() for label, rule in values["labels"].items()}
        if "verify" in values:
            values["verify"] = tuple(split_words(one, "the gate") for one in values["verify"])
        return replace(old, **values)


@Verb(answers.PROJECTS, command="project ls", query=("prd",))
def _list(context: ApiContext, call: ApiCall) -> answers.ProjectsAnswer:
    """List the projects: repositories with a name and defaults."""
    around, looks = context.coordinator.around({}), "prd" in call.query
    return answers.ProjectsAnswer(tuple(_show(around, one, looks) for one in around.projects().values()))


@Verb(answers.PROJECT, command="project show")
def _get(context: ApiContext, call: ApiCall) -> answers.ProjectShape:
    """Return the project that a name or an issue names."""
    around = context.coordinator.around({})
    return _show(around, find_project(around.projects(), call.path["project"]))


@Verb(answers.DRAFT, command="project prd", query=("run",))
def _prd(context: ApiContext, call: ApiCall) -> answers.PrdAnswer:
    """Return where a project's PRD is, the task of a run to draft one, and a run's draft. Writes nothing."""
    around = context.coordinator.around({})
    one, run = find_project(around.projects(), call.path["project"]), call.query.get("run")
    text = None if run is None else read_draft(context.core, one, run)
    found = around.prd(one.path, one.prd)
    place = {"project": one.name, "path": one.path, "remote": one.remote, "prd": found}
    return cast("answers.PrdAnswer", {**place, "task": draft_task(), "text": text})


class MappingBody(ActBody):
    """The rows of a mapping file; the field `by` of a row is ignored."""

    projects: Annotated[tuple[ProjectBody, ...], Field(min_length=1, max_length=200)]


@Verb(answers.ADD_PROJECT, ProjectBody, "project add", pokes=True, right=SETS_UP)
def _add(context: ApiContext, call: ApiCall[ProjectBody]) -> answers.ProjectShape:
    """Add a project, or change it."""
    body = call.body
    around = context.coordinator.around({})
    new = _make_project(context, around.projects(), body)
    change = AskedChange(ChangeKind.SETTING, f"projects.{new.name}", json.dumps(_to_settings(new)))
    effect = make_change(context.core, change_makers(context), change, body.by)
    return _show(around, new, notes=effect.notes)


@Verb(answers.MAP_PROJECTS, MappingBody, "project add", pokes=True, right=SETS_UP)
def _add_all(context: ApiContext, call: ApiCall[MappingBody]) -> answers.ProjectsAnswer:
    """Add several projects in one change, either all or none. An existing project keeps its prefix and its
    tracker; another row with a prefix gets Linear as its tracker."""
    body = call.body
    around, new = context.coordinator.around({}), dict[str, NamedProject]()
    with context.core.lock:  # The file must not change between reading and writing it.
        known = around.projects()
        for row in body.projects:
            one = _make_project(context, {**known, **new}, row)
            old = known.get(one.name)
            if old is not None and old.prefix and old.prefix.upper() != one.prefix.upper():
                raise UsageError(
                    f"project {one.name} has the prefix {old.prefix}, but this row has {one.prefix}",
                    why="issues with the old prefix would not belong to any project; nothing was changed",
                    fix=f"pancode project add --name {one.name} --prefix {one.prefix}; then run this again",
                    code="other_prefix",
                )
            # in such a file, the prefix is the key of Linear's team
            is_linear = one.prefix and not one.tracker and "prefix" in row.model_fields_set
            new[one.name] = replace(one, tracker=f"linear:{one.prefix.upper()}") if is_linear else one
        before = context.coordinator.chosen.look(BY_NAME, "{}").before
        kept = {} if before is None else cast("dict[str, Any]", value_of(BY_NAME, before))
        value = json.dumps({**kept, **{name: _to_settings(one) for name, one in new.items()}})
        change = AskedChange(ChangeKind.SETTING, BY_NAME, value)
        effect = make_change(context.core, change_makers(context), change, body.by)
    return answers.ProjectsAnswer(tuple(_show(around, one, notes=effect.notes) for one in new.values()))


def _make_project(context: ApiContext, known: Mapping[str, NamedProject], body: ProjectBody) -> NamedProject:
    """Return the requested project. UsageError if it is invalid."""
    around = context.coordinator.around({})
    top = None if body.path is None else _find_top(context, body.path)
    old = known.get(body.name or "")
    if top is None and old is None:
        raise UsageError(
            "the path of a directory is required for a new project",
            fix="pancode project add PATH",
            code="bad_value",
        )
    name = project_name(body.name) if body.name else name_for(os.path.basename(top or ""))
    if body.name is None:
        must_be_the_same(known.get(name), top or "")
    new = body.change(known.get(name) or NamedProject(name, top or ""))
    if top is not None:
        new = replace(new, path=top, remote=around.address_of(top))
    if new.prd and "prd" in body.model_fields_set:
        below = os.path.relpath(os.path.join(new.path, new.prd), new.path)
        if below.startswith("..") or around.prd(new.path, below) != below:
            fix = "give a file of the repository: --prd docs/spec.md"
            raise UsageError(f"{new.prd} is not a file of {new.path}", fix=fix, code="bad_value")
        new = replace(new, prd=below)
    must_be_alone(known, new)
    must_name_accounts(new)
    return new


def _find_top(context: ApiContext, path: str) -> str:
    top = context.project_of(path)
    if top is None:
        fix = "give a directory in a repository on the coordinator's computer, or run git init there"
        raise UsageError(f"{path} is not in a git repository", fix=fix, code="no_repository")
    return top


def _to_settings(one: NamedProject) -> dict[str, Any]:
    """Return the project as settings.json stores it, without unset fields."""
    values = leave_out_unset(to_json(replace(one, name="")))
    labels = {label: leave_out_unset(rule) for label, rule in values.get("labels", {}).items()}
    return {**values, **({"labels": labels} if labels else {})}


def _show(
    around: Surroundings, one: NamedProject, looks: bool = True, notes: Sequence[str] = ()
) -> answers.ProjectShape:
    """Return the answer. `looks`: also read from disk its PRD and whether its path has a repository."""
    values = {each.name: getattr(one, each.name) for each in fields(one)}
    values["prd"] = around.prd(one.path, one.prd) if looks else ""
    there = os.path.exists(os.path.join(one.path, ".git"))
    return answers.ProjectShape(**values, there=there, notes=tuple(notes))


def _secret_of(project: str) -> str:
    """Return the name under which the secret of the project's tracker webhook is stored."""
    return f"tracker-{project}"


@Verb(answers.TRACKER_HOOK, TrackerHookBody, "project webhook", right=SETS_UP)
def _make_webhook(context: ApiContext, call: ApiCall[TrackerHookBody]) -> answers.TrackerHookAnswer:
    """Return a tracker webhook's address and new secret; for Linear no secret, as Linear creates it."""
    body = call.body
    project = find_project(context.coordinator.around({}).projects(), call.path["project"])
    kind, secret = place_of(project).kind, body.secret
    if secret is not None or kind is not TrackerKind.LINEAR:
        secret = tracker_secret(context.core, project.name, body.by, secret)
        context.coordinator.keep_secret(_secret_of(project.name), secret)
    base = context.public_base()
    url = None if base is None else f"{base}{HOOKS}trackers/{project.name}"
    shown = secret if body.secret is None else None
    return {"project": project.name, "tracker": kind.value, "url": url, "secret": shown}


@Verb(
    "POST /v1/hooks/trackers/{project}", SignedBody, status=202, right=DISPATCHES, over_tcp=TcpAccess.SIGNED
)
def _receive_webhook(context: ApiContext, call: ApiCall[SignedBody]) -> answers.TrackerCalledAnswer:
    """Query a tracker's issues and the watched pull requests soon, as a signed webhook requests.

    Only the answer to the query counts, so repeated, late or reordered calls do no harm.
    """
    signed: SignedBody = call.body
    project = context.coordinator.around({}).projects().get(call.path["project"])
    kind, secret = TrackerKind.GITHUB, None
    if project is not None and project.tracker:
        kind = place_of(project).kind
        with suppress(NotFoundError):
            secret = context.coordinator.kept_secret(_secret_of(project.name))
    try:
        must_be_of(kind.value, signed.signed(), secret, context.core.wall_ms())
    except AccessError as error:
        count_failure(context.core, error)
        raise
    for part in context.coordinator.parts:
        part.hurry()
    return {"project": call.path["project"]}


@Verb(answers.REMOVE_PROJECT, ActBody, "project rm", pokes=True, right=SETS_UP)
def _remove(context: ApiContext, call: ApiCall[ActBody]) -> ChangeAnswer:
    """Remove a project; its repository does not change."""
    name = find_project(context.coordinator.around({}).projects(), call.path["project"]).name
    context.coordinator.keep_secret(_secret_of(name), None)
    change = AskedChange(ChangeKind.SETTING, f"projects.{name}", None)
    return make_change(context.core, change_makers(context), change, call.body.by).shape()
