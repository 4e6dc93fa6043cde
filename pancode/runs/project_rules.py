"""Projects: repositories with a name and defaults. Finds the project for a name or an issue."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal

from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.names import not_found

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ISSUE = re.compile(r"([A-Za-z][A-Za-z0-9]{0,31})-[0-9]{1,12}")
SETTING_OF = {
    "agent": "dispatch.agent",
    "require": "dispatch.require",
    "gpus": "dispatch.gpus",
    "gpu_memory": "dispatch.gpu_memory",
    "budget": "budget.per_run",
    "verify": "verify",
}
"""The setting that each default of a project replaces."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What an issue's label chooses for the work on the issue; a field is None if not chosen."""

    agent: str | None = None
    node: str | None = None
    budget: Decimal | None = None
    """The budget of a run in USD; it cannot exceed the project's general limit for a run."""

    def said(self) -> dict[str, str]:
        """Return the choices of the label, as settings and interfaces write them."""
        return {name: f"{one}" for name, one in asdict(self).items() if one is not None}


@dataclass(frozen=True, slots=True)
class NamedProject:
    """One project. `path`: its repository on the coordinator's computer; `remote`: that repository's URL, by
    which a clone is recognized as the same project. None: the project does not set the field.

    `prefix`: for example MIN, as in the issue MIN-123. `linear_id`, `linear_name`: the project in Linear.
    `tracker`: where its issues are, as `github:OWNER/REPO`. Work on an open issue with the label `work_label`
    begins automatically if one of `work_people`, by their logins there (Linear: addresses), is its assignee
    or author; without both settings it never does. `labels`: what a label of an issue chooses, by label.
    `prd`: the file below the project's top folder that describes the product; empty: PanCode searches for it.
    `pull_people`: logins of the forge whose reviews and comments on pull requests count; `pull_follow`:
    whether new pull requests are followed; `pull_merge`: whether one that they approved is merged.
    """

    name: str
    path: str
    remote: str = ""
    agent: str | None = None
    require: Mapping[str, str] = field(default_factory=dict)
    budget: Decimal | None = None
    """The most that a run may cost, in USD."""
    gpus: str | None = None
    gpu_memory: int | None = None
    """The least memory of each reserved GPU, in bytes."""
    verify: tuple[tuple[str, ...], ...] | None = None
    prefix: str = ""
    linear_id: str = ""
    linear_name: str = ""
    tracker: str = ""
    work_label: str = ""
    work_people: tuple[str, ...] = ()
    labels: Mapping[str, LabelRule] = field(default_factory=dict)
    prd: str = ""
    pull_people: tuple[str, ...] = ()
    pull_follow: bool = False
    pull_merge: bool = False


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
