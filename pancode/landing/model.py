"""The values of a landing: the change, how it lands, the verdict of its gates, and how it ended."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from pancode.kernel.states import How
from pancode.kernel.values import replace


@dataclass(frozen=True, slots=True)
class LandWay:
    """How to land a change. `branch`: as commits on this branch, with `message`; empty: into the files.

    A user's approvals: `with_commands` of files that decide what runs next, `with_secret` of a secret,
    `anyway` of a change with a run that did not end well, and `without_gates` of leaving out these gates,
    each named by its text.
    """

    by: str
    gates: bool = True
    branch: str = ""
    message: str = ""
    with_commands: bool = False
    with_secret: bool = False
    how: How = How.SQUASH
    """How the change becomes commits; used only with `branch`."""
    approves: bool = False
    """Whether the landing answers an item of the inbox; if that item no longer waits, nothing is landed."""
    anyway: bool = False
    without_gates: tuple[str, ...] = ()
    author: Mapping[str, str] = field(default_factory=dict)
    """Git's variables of author and committer in the environment of the user who lands."""

    @property
    def says_yes(self) -> bool:
        """Whether the value contains a user's approval of anything that would prevent the landing."""
        leaves_out = not self.gates or bool(self.without_gates)
        return self.with_commands or self.with_secret or self.anyway or leaves_out

    def without_yes(self) -> LandWay:
        """Return a copy without any approvals."""
        return replace(
            self, gates=True, without_gates=(), with_commands=False, with_secret=False, anyway=False
        )

    def to_row(self) -> dict[str, object]:
        """Return the value in the form that the ledger stores."""
        row: dict[str, object] = {one.name: getattr(self, one.name) for one in fields(self)}
        return row | {"how": self.how.value, "without_gates": list(self.without_gates)}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> LandWay:
        """Return the value from the form that the ledger stores."""
        known = {one.name: row[one.name] for one in fields(cls) if one.name in row}
        without = tuple(known.get("without_gates", ()))
        return cls(**{**known, "how": How(known.get("how", How.SQUASH)), "without_gates": without})


@dataclass(frozen=True, slots=True)
class RequiredGate:
    """A gate that a landing requires. `run`: the newest run of the change that requires the gate."""

    argv: tuple[str, ...]
    name: str
    run: str

    @property
    def text(self) -> str:
        """Return the gate's command as a user types it."""
        return shlex.join(self.argv)

    def is_named(self, text: str) -> bool:
        """Whether a user who types this text means this gate."""
        try:
            return tuple(shlex.split(text)) == self.argv
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class RequiredGates:
    """The gates of all runs of a change without duplicates, and the set-up commands that they need.
    `left_out`: the gates that a user has left out."""

    gates: tuple[RequiredGate, ...]
    setup: tuple[tuple[str, ...], ...]
    left_out: tuple[RequiredGate, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that prevents a landing, and the reason. `flag`: the option that lands the file nevertheless."""

    path: str
    why: str
    flag: str = ""


class LandStatus(StrEnum):
    """How a landing ended. Only with `landed` has the tree changed."""

    LANDED = "landed"
    NOTHING = "nothing to land"
    CONFLICT = "conflict"
    GATE_FAILED = "gate failed"
    HELD = "held"
    """A user must approve the change first."""
    CALLED_OFF = "called off"


@dataclass(frozen=True, slots=True)
class LandingGates:
    """The verdict of the gates on the merged files. `held`: files that need a user's approval first.

    `run`: the run that ran the gates again on the merged files; None: no gate ran again. `failed`: the texts
    of the gates that failed there; if none of them is known to have failed, the gates of older runs.
    """

    ok: bool
    detail: str = ""
    held: tuple[Conflict, ...] = ()
    run: str | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LandRequest:
    """A result to land, its snapshot, and the depot's repository that contains both. `environ`: the
    environment with the user's own git settings (None: the coordinator's environment)."""

    repo_id: str
    snapshot_commit: str
    final_commit: str
    environ: Mapping[str, str] | None = None
    allowed: tuple[str, ...] = ()
    """Patterns of untracked files that were sent although their names usually mean secrets."""
    base: str | None = None
    """The user's commit at the time of the dispatch; None: there was no commit."""
    run: str = ""
    """The run that made the change."""
    author: Mapping[str, str] = field(default_factory=dict)
    """Git's variables of author and committer in the environment of the user who lands."""


@dataclass(frozen=True, slots=True)
class OnBranch:
    """How to commit on a branch: the branch's name, the message, the wall time for the date, and the trailers
    of each commit."""

    name: str
    message: str
    now_ms: int
    how: How = How.SQUASH
    trailers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LandReport:
    """How a landing ended. `files`: files written or deleted; `conflicts`: files that prevented it, and why.
    `recovered`: how an earlier, interrupted landing was repaired first; None: there was none."""

    status: LandStatus
    files: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    gate: LandingGates | None = None
    recovered: str | None = None
    tree: str = field(default="", compare=False)
    """The checkout, and the branch that it was on (None: detached)."""
    branch: str | None = field(default=None, compare=False)
    commit: str = field(default="", compare=False)
    """The new commit of a landing on a branch; else empty, because nothing is committed."""
    already: str = field(default="", compare=False)
    """Where the change was found if it had landed before; else empty."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged files as a tree of the depot. `files`: those that the landing would change, named as on
    disk; `before`: the tree without the change.

    `tested`: whether the merged tree equals that of the run's result. `commit`: the commit that was made of
    the tree, for a branch; else empty. `plain`: those of `files` that are no links, as far as known.
    """

    before: str
    tree: str
    files: tuple[str, ...]
    tested: bool
    commit: str = ""
    plain: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ConflictState:
    """Both sides of a conflict as a depot commit with conflict markers. `ours`: commit of the user's side."""

    commit: str
    ours: str
    base: str | None
    files: tuple[str, ...]


Gates = Callable[[Merged], LandingGates]
"""A function that judges the merged files of a landing."""

CalledOff = Callable[[], bool]
"""Whether a user has called the landing off; checked repeatedly until the files are written."""
