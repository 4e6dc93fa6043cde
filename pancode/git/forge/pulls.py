"""A pull request as a feature requests it from a forge, and the repositories of its two sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pancode.git.forge_rules import READABLE, ForgeKind, RemoteRepository
from pancode.kernel.errors import UsageError

FORK = "fork"
"""The code of the error that asks where the pull requests of a fork belong."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """The request to a forge to merge `branch`, which is already pushed, into the default branch."""

    branch: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Sides:
    """The repository of the branch and that of its pull request, `target`, which differ for a fork. `own`,
    `there`: both as the forge describes them."""

    repository: RemoteRepository
    target: RemoteRepository
    own: Mapping[str, Any]
    there: Mapping[str, Any]

    @property
    def are_same(self) -> bool:
        return self.repository == self.target


@dataclass(frozen=True, slots=True)
class OpenedPull:
    """An open pull request. `fresh`: whether this call opened it. `number`: its number in its repository."""

    url: str
    number: int
    base: str
    fresh: bool


def name_repository(repository: RemoteRepository) -> str:
    """Return the host, owner and name of the repository."""
    return f"{repository.host}/{repository.path}"


def must_be_readable(kind: ForgeKind) -> None:
    """Raise UsageError if PanCode cannot read checks and reviews of this forge."""
    if kind not in READABLE:
        raise UsageError(
            f"pull requests on {kind} cannot be followed",
            why=f"checks and reviews are read from {' and '.join(READABLE)}",
            fix="omit --follow",
            code="not_followed",
        )
