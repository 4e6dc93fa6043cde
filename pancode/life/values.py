"""The values of a landing: the change, the way it is landed, the verdict of its gates, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class How(StrEnum):
    """How a change becomes commits on a branch."""

    SQUASH = "squash"
    """One commit with the whole change."""
    MERGE = "merge"
    """The run's own commits, and a merge commit that joins them to the branch."""
    REBASE = "rebase"
    """The run's own commits, one after the other on the tip of the branch."""


@dataclass(frozen=True, slots=True)
class LandWay:
    """How a change is to be landed. `branch`: as commits there, with `message`; empty: into the files.

    `with_commands`, `with_secret`: a person says yes to files that decide what runs next, and to a secret.
    """

    by: str
    gates: bool = True
    branch: str = ""
    message: str = ""
    with_commands: bool = False
    with_secret: bool = False
    how: How = How.SQUASH
    """Counts only with `branch`."""
    approves: bool = False
    """It answers an item of the inbox: not landed when that does not wait any more."""

    def to_row(self) -> dict[str, object]:
        """As the ledger keeps it."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"how": self.how.value}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> LandWay:
        """As the ledger has kept it."""
        known = {one.name: row[one.name] for one in fields(cls) if one.name in row}
        return cls(**{**known, "how": How(known.get("how", How.SQUASH))})


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that keeps a landing from happening, and why. `yes`: the option that lets it through."""

    path: str
    why: str
    yes: str = ""


class LandStatus(StrEnum):
    """How a landing ended. Only `landed` changed the tree."""

    LANDED = "landed"
    NOTHING = "nothing to land"
    CONFLICT = "conflict"
    GATE_FAILED = "gate failed"
    HELD = "held"
    """A person has to say yes to it first."""
    CALLED_OFF = "called off"


@dataclass(frozen=True, slots=True)
class LandingGates:
    """The gates' verdict on the merged tree. `held`: files that a person has to say yes to first.

    `run`: the run that has run the gates again on the merged tree; None: no gate ran again.
    """

    ok: bool
    detail: str = ""
    held: tuple[Conflict, ...] = ()
    run: str | None = None


@dataclass(frozen=True, slots=True)
class LandRequest:
    """What to land: a result of a run, made on that snapshot, both in that repository of the depot.

    `environ` is where the user's own git settings are found (None: our environment).
    """

    repo_id: str
    snapshot_commit: str
    result_commit: str
    environ: Mapping[str, str] | None = None
    allowed: tuple[str, ...] = ()
    """Patterns of untracked files that travelled although such names usually hold secrets."""
    base: str | None = None
    """The commit on which the user stood at dispatch."""
    run: str = ""
    """The run whose change it is."""


@dataclass(frozen=True, slots=True)
class OnBranch:
    """Which branch, the commit's message, the wall time of its date, and the trailers of every commit."""

    name: str
    message: str
    now_ms: int
    how: How = How.SQUASH
    trailers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LandReport:
    """`files` were written or deleted; `conflicts` say which files kept it from happening, and why.

    `recovered` tells of an earlier landing that had been cut off and was mended first.
    """

    status: LandStatus
    files: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    gate: LandingGates | None = None
    recovered: str | None = None
    tree: str = field(default="", compare=False)
    """The checkout that it was about, and the branch that was out there (None: detached)."""
    branch: str | None = field(default=None, compare=False)
    commit: str = field(default="", compare=False)
    """Made on that branch, where the landing was to be a commit; else nothing is committed."""
    already: str = field(default="", compare=False)
    """Where the change was found that is landed already, in words."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged tree, an object of the depot. `files`: what the landing would change, as named on the disk.

    `tested`: it is the very tree of the run's result.
    """

    tree: str
    files: tuple[str, ...]
    tested: bool


@dataclass(frozen=True, slots=True)
class ConflictState:
    """Both sides of a conflict as a commit of the depot, with marked places; `ours`: one's own side."""

    commit: str
    ours: str
    base: str | None
    files: tuple[str, ...]


Gates = Callable[[Merged], LandingGates]
"""Judges the merged tree."""

CalledOff = Callable[[], bool]
"""Whether the person who asked for it has changed their mind: asked again and again until it is written."""


def never() -> bool:
    """Nobody calls it off."""
    return False
