"""Projects: repositories with a name and defaults. Finds the project for a name or an issue."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeAlias

from pancode.kernel.declared import Gpus, Labels, Money, Name, Size, Value, value, values_of
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.names import not_found

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ISSUE = re.compile(r"([A-Za-z][A-Za-z0-9]{0,31})-[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What an issue's label chooses for the work on the issue; a field is None if not chosen."""

    agent: str | None = None
    node: str | None = None
    budget: Decimal | None = None
    """The budget of a run in USD; it cannot exceed the project's general limit for a run."""


Fact: TypeAlias = str
Prefix: TypeAlias = str
Names: TypeAlias = tuple[str, ...]
Logins: TypeAlias = tuple[str, ...]
Gates: TypeAlias = tuple[tuple[str, ...], ...]
LabelRules: TypeAlias = Mapping[str, LabelRule]


@dataclass(frozen=True, slots=True)
class NamedProject:
    """One project. None: the project does not set the field."""

    name: Name = value("The project's name (default: the directory's name).", "NAME", default="")
    path: str = value(default="")
    """A directory in its repository, on the coordinator's computer."""
    remote: Fact = value(default="")
    """The repository's URL, by which a clone is recognized as the same project."""
    agent: Name | None = value("Its agent, if a dispatch names none.", setting="dispatch.agent")
    require: Labels = value(
        "Use only nodes with this label; may be repeated.",
        "KEY=VALUE",
        default={},
        setting="dispatch.require",
    )
    budget: Money | None = value("Maximum cost of a run.", "USD", setting="budget.per_run")
    gpus: Gpus | None = value("GPUs that a run reserves; 0: none.", "N|all", setting="dispatch.gpus")
    gpu_memory: Size | None = value(
        "Least memory of each GPU.", "S", example="24g", setting="dispatch.gpu_memory"
    )
    verify: Gates | None = value(
        "Its gates, in place of the repository's; may be repeated.", "CMD", setting="verify"
    )
    prefix: Prefix = value("Prefix of its issues, such as MIN for MIN-123.", "P", default="")
    linear_id: Fact = value("The id of the project in Linear.", "ID", default="")
    linear_name: Fact = value("The name of the project in Linear.", "NAME", default="")
    tracker: Fact = value(
        "The issue tracker: github:OWNER/REPO, gitlab:GROUP/REPO, linear:TEAM.", "TRACKER", default=""
    )
    work_label: Fact = value(
        "Start issues with this label automatically, if a --work-person has or wrote them.",
        "LABEL",
        default="",
    )
    work_people: Names = value(
        "Who may start work by an issue: a login, in Linear an email address; may be repeated.",
        "WHO",
        key="work_person",
        default=(),
    )
    labels: LabelRules = value(
        "What a label of an issue selects; may be repeated; replaces all earlier rules.",
        "'LABEL=agent=A node=N budget=USD'",
        key="label",
        default={},
    )
    prd: Fact = value("File with its goal (default: docs/PRD.md, PRD.md).", "PATH", default="")
    """Below its top; empty: PanCode searches for it."""
    pull_people: Logins = value(
        "Whose remarks on pull requests count: a login of the forge; may be repeated; none: nobody.",
        "LOGIN",
        key="pull_person",
        default=(),
    )
    pull_follow: bool = value(
        "Send failed checks and remarks on pull requests to the agent.",
        flags=("--pull-follow/--no-pull-follow",),
        default=False,
    )
    pull_merge: bool = value(
        "Merge what a --pull-person approved once its checks pass.",
        flags=("--pull-merge/--no-pull-merge",),
        default=False,
    )


PROJECT = values_of(NamedProject, Value)
"""The values of a project by name."""
CHANGES = {name: replace(one, default=None) for name, one in PROJECT.items() if one.help}
"""The values that a request may give, beside the project's path; each may be omitted."""


def project_name(text: str) -> str:
    """Return the text as a project name; UsageError if it cannot be a key of the settings."""
    if _NAME.fullmatch(text) is None:
        why = (
            "a name must have 1 to 63 lowercase letters, digits, _ and -, and start with a letter or a digit"
        )
        what = f"{text[:80]!r} is not a valid project name"
        raise UsageError(what, why=why, fix="--name shop", code="bad_value")
    return text


def name_for(folder: str) -> str:
    """Return a project name derived from a folder's name; UsageError if no name can be derived."""
    return project_name(re.sub(r"[^a-z0-9_-]+", "-", folder.lower()).strip("-_")[:63])


def find_project(projects: Mapping[str, NamedProject], text: str) -> NamedProject:
    """Return the project that has this name or issue, or this name or id in Linear. NotFoundError."""
    if text in projects:
        return projects[text]
    issue = _ISSUE.fullmatch(text)
    for one in projects.values():
        if issue is not None and one.prefix and one.prefix.upper() == issue[1].upper():
            return one
        if text and text in (one.linear_id, one.linear_name):
            return one
    if issue is not None and projects:
        fix = f"pancode project add PATH --name NAME --prefix {issue[1].upper()}"
        raise not_found("project", text, projects, fix)
    raise not_found("project", text, projects, "pancode project ls")


def moved_project_error(text: str, path: str) -> NotFoundError:
    """Return the error for a project whose folder is no longer a repository."""
    what = f"the repository of project {text} was moved or deleted"
    fix = f"pancode project add NEW-PATH --name {text}"
    return NotFoundError(what, why=f"{path} is not a git repository", fix=fix, code="project_moved")


def must_be_the_same(old: NamedProject | None, path: str) -> None:
    """Raise UsageError if a name derived from a folder belongs to a known project with another folder, which
    would be replaced."""
    if old is not None and old.path != path:
        raise UsageError(
            f"project {old.name} already exists at {old.path}",
            fix=f"use pancode project add {shlex.quote(path)} --name OTHER; or, to move the project: --name "
            f"{old.name}",
            code="project_taken",
        )


def project_among(
    found: Collection[NamedProject], top: str, address_of: Callable[[str], str]
) -> NamedProject | None:
    """Return which of these projects the repository belongs to: by folder, else by its remote's address."""
    here = os.path.realpath(top)
    for one in found:
        if os.path.realpath(one.path) == here:
            return one
    address = address_of(top) if any(one.remote for one in found) else ""
    return next((one for one in found if address and one.remote == address), None)


def must_be_alone(projects: Mapping[str, NamedProject], new: NamedProject) -> None:
    """Raise UsageError if another project already has the new project's repository, prefix or id."""
    for one in projects.values():
        if one.name == new.name:
            continue
        for what in ("path", "remote", "prefix", "linear_id"):
            mine, other = getattr(new, what), getattr(one, what)
            if mine and mine.upper() == other.upper():
                fix = f"pancode project rm {one.name}, and then repeat this command"
                what = f"project {one.name} already has {what.replace('_', ' ')} {mine}"
                raise UsageError(what, fix=fix, code="project_taken")
