"""The values of a landing in a repository, the port to repositories, and the message of a landed commit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from node_agent.policy.deciding import FileTree
from pancode.kernel.records import Run
from pancode.kernel.states import How


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


class Repositories(Protocol):
    """Port to the users' repositories. Raises WorkspaceError for every failure; the user's files and branches
    do not change then."""

    def into_files(self, project: str, request: LandRequest, gates: Gates, off: CalledOff) -> LandReport:
        """Merge the result into the files around `project`, as uncommitted edits. Idempotent: a change that
        is already there gives `nothing to land`. `off` can stop the landing until its first write."""

    def onto_branch(
        self, project: str, request: LandRequest, target: OnBranch, gates: Gates, off: CalledOff
    ) -> LandReport:
        """Commit the result on a branch; files, index, other branches stay. Idempotent like `into_files`."""

    def conflict(self, project: str, request: LandRequest, branch: str) -> ConflictState:
        """Return both sides of a conflict as a commit in the depot. No listed files means no conflict."""

    def unsettled(self, repo: str, marked: str, result: str, files: Iterable[str]) -> tuple[Conflict, ...]:
        """Return those of `files`, in conflict in the commit `marked`, that `result` has not resolved."""

    def commit_of(self, repo: str, tree: str, base: str | None) -> str:
        """Return a commit of a tree of the depot; equal input gives the same commit."""

    def files_of(self, repo: str, tree: str) -> FileTree:
        """Return the files of a tree of the depot."""

    def offer(self, repo: str, run: str, commit: str, base: str | None) -> None:
        """Make a commit of the depot the snapshot of a run, so that nodes can fetch it. Idempotent."""


RUN, AGENT, RECEIPT = "Pancode-Run", "Pancode-Agent", "Pancode-Receipt"
_TITLE = 72
_OURS = re.compile(rf"\s*({RUN}|{AGENT}|{RECEIPT})\s*:", re.IGNORECASE)
_TRAILER = re.compile(r"[A-Za-z0-9-]+: \S")


def message_of(run: Run, text: str) -> str:
    """Return the commit message that the user wrote, or else the first line of the run's task."""
    lines = run.task.strip().splitlines() or [run.id]
    return text.strip() or lines[0][:_TITLE]


def trailers_of(run: Run) -> tuple[str, ...]:
    """Return trailers of a run's change: the run, the agent, and the digest of the receipt that proves it."""
    receipt = run.result.get("receipt")
    proof = (f"{RECEIPT}: {receipt}",) if isinstance(receipt, str) and receipt else ()
    return (f"{RUN}: {run.id}", f"{AGENT}: {run.agent}", *proof)


def with_trailers(message: str, trailers: tuple[str, ...]) -> str:
    """Return the message with these trailers; lines in it that imitate PanCode's trailers are removed."""
    kept = [line for line in message.strip().splitlines() if not _OURS.match(line)]
    text = "".join(one for one in "\n".join(kept) if one in "\n\t" or unicodedata.category(one) != "Cc")
    text = text.strip()
    body, _, last = text.rpartition("\n\n")
    own = bool(body) and all(_TRAILER.match(line) for line in last.splitlines())
    return f"{text}{chr(10) if own else chr(10) * 2}{chr(10).join(trailers)}\n" if trailers else f"{text}\n"
