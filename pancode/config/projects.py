"""The settings of projects: their fields, the project of a repository, and the values that it sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pancode.config.units import Commands, FilePath, GpuCount, Labels, Money, Size, Texts
from pancode.git.forge_rules import repository_of
from pancode.git.runner import Git, GitFailure, GitRefusal, any_owner_env
from pancode.kernel.declared import to_json
from pancode.kernel.errors import UsageError
from pancode.kernel.names import PRDS
from pancode.runs.declared_models import with_values
from pancode.runs.project_rules import PROJECT, LabelRule, NamedProject, project_among

_Word = Annotated[str, Field(min_length=1)]


class LabelSettings(BaseModel):
    """The choices that a label of an issue makes; may be written as one text: `agent=fixer budget=3`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    agent: _Word | None = None
    node: _Word | None = None
    budget: Money | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: object) -> object:
        words = value.split() if isinstance(value, str) else ()
        return {word.partition("=")[0]: word.partition("=")[2] for word in words} if words else value

    def rule(self) -> LabelRule:
        """Return the rule in the form used for decisions."""
        return LabelRule(**dict(self))


_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("Fact", "Prefix", "Name"), str),
    **dict.fromkeys(("Names", "Logins"), Texts),
    # an empty `require:` in the file has always meant no labels
    "Labels": Annotated[Labels, BeforeValidator(lambda given: {} if given is None else given)],
    **{"Money": Money, "Gpus": GpuCount, "Size": Size, "Gates": Commands, "bool": bool},
    "LabelRules": dict[str, LabelSettings],
}


@with_values({name: one for name, one in PROJECT.items() if name not in ("name", "path")}, _TYPES)
class ProjectSettings(BaseModel):
    """A named repository. Omitted fields are taken from the other settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    path: FilePath

    def named(self, name: str) -> NamedProject:
        """Return the project in the form used for decisions."""
        values = dict(self)
        labels = {label: one.rule() for label, one in values["labels"].items()}
        return NamedProject(name, **{**values, "path": os.path.expanduser(self.path), "labels": labels})


def address_of(project: str) -> str:
    """Return the address of the remote `origin` without login and scheme; empty if there is no `origin`."""
    try:
        done = Git(Path(project), any_owner_env()).ask("remote", "get-url", "--", "origin")
    except (GitFailure, GitRefusal, OSError):
        return ""
    url = done.text().strip() if done.ok else ""
    try:
        repository = repository_of(url)
    except UsageError:
        return os.path.realpath(url) if url.startswith("/") else ""
    return f"{repository.host}/{repository.path}"


def prd_of(top: str, named: str) -> str:
    """Return the path of the PRD, which describes the product that the repository is for; empty: no PRD.
    `named`: the configured path, which takes precedence."""
    for path in (named, *PRDS):
        folder, name = os.path.split(path)
        try:
            there = set(os.listdir(os.path.join(top, folder))) if name else set[str]()
        except OSError:
            continue
        for found in (os.path.join(folder, one) for one in (name, name.lower()) if one in there):
            if os.path.isfile(os.path.join(top, found)):
                return found
    return ""


def is_in_snapshot(top: str, path: str) -> bool:
    """Whether a snapshot would include the file: git does not ignore it, and no folder above it is a link."""
    try:
        git = Git(Path(top), any_owner_env())
        return bool(git.ask("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", path).out)
    except (GitFailure, GitRefusal, OSError):
        return False


def project_at(raw: object, top: Path) -> NamedProject | None:
    """Return the project of a repository: by its folder, else by its remote's address. `raw`: the settings as
    written; invalid entries are skipped, since other code reports them."""
    rows = raw.items() if isinstance(raw, Mapping) else ()
    found = [one for name, project in rows if (one := _read(name, project)) is not None]
    return project_among(found, str(top), address_of)


def _read(name: str, value: object) -> NamedProject | None:
    try:
        return ProjectSettings.model_validate(value).named(name)
    except ValidationError:
        return None


def project_values(project: NamedProject) -> dict[str, object]:
    """Return the settings that the project overrides, by key."""
    values = to_json(project)
    mine = {one.setting: values[one.name] for one in PROJECT.values() if one.setting}
    return {key: value for key, value in mine.items() if value not in (None, {})}
