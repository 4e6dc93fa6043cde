"""The values of watched pull requests: their items, the round under way, a project's rules, and the ports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from pancode.git.pull_state import PullPlace, PullState
from pancode.kernel.declared import from_json
from pancode.kernel.records import Run
from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class WatchedPull(Record):
    """A pull request that PanCode opened, and its checks and remarks. `run`: whose change it was opened
    with; `forge`: the kind; `repository`: host, owner and name; `remote`: the name of the git remote.

    `follow`: whether checks and remarks start work. `state`: open, merged or closed, and why the forge would
    not merge it; `head`: the commit that the forge showed last, first seen at `head_ms`. `items`: what waits
    for a user; `seen`: the ids of checks and remarks that became items. `rounds`: the messages sent since a
    user's last word; `mark`: a text that only the message of the round under way contains; empty: no round;
    `message`: that message; `worker`: the run that got it; empty: it is not known whether one did. `ready`:
    the head that was reported as approved; `merging`: the head whose merge was requested, unless the forge
    refused it. `trouble`: why the last step failed. `ended`: it is merged, closed or not watched any more.
    """

    TABLE: ClassVar = Table("pull_requests", ("id",), ("ended,opened_ms",))
    id: str
    run: str
    project: str
    forge: str
    repository: str
    number: int
    url: str
    remote: str
    branch: str
    by: str
    opened_ms: int
    follow: bool = False
    state: str = "open"
    head: str = ""
    head_ms: int = 0
    looked_ms: int = 0
    items: tuple[dict[str, object], ...] = ()
    seen: tuple[str, ...] = ()
    rounds: int = 0
    mark: str = ""
    message: str = ""
    worker: str = ""
    ready: str = ""
    merging: str = ""
    trouble: str = ""
    ended: bool = False

    @property
    def place(self) -> PullPlace:
        """Return where the pull request is."""
        again = f"pancode inbox pulls {self.id} --forget; "
        again += f"pancode land {self.run} --push {self.remote} {self.branch} --pull-request"
        return PullPlace(
            self.project, self.remote, self.branch, self.forge, self.repository, self.number, again
        )


class PullItemKind(StrEnum):
    """What an item is about. Only the first two start work; ROUND and MERGE are about failures."""

    CHECK = "check failed"
    REMARK = "remark"
    STRANGER = "changes requested by a stranger"
    ROUND = "round"
    MERGE = "merge"
    READY = "approved"


CAUSES = (PullItemKind.CHECK, PullItemKind.REMARK)


@dataclass(frozen=True, slots=True)
class PullItem:
    """Something about a pull request that waits for a user. `id`: unique in it. `text`: as others wrote it,
    without control characters and cut. `is_sent`: the agent has it."""

    id: str
    kind: PullItemKind
    title: str
    text: str = ""
    is_sent: bool = False


def items_of(pull: WatchedPull) -> tuple[PullItem, ...]:
    """Return the items of the pull request, oldest first."""
    return tuple(from_json(PullItem, row) for row in pull.items)


@dataclass(frozen=True, slots=True)
class PullRules:
    """A project's settings. `people`: logins of the forge that may start work, in lower case; `follows`:
    whether new pull requests are followed; `merges`: whether an approved one with passed checks is merged."""

    people: frozenset[str] = frozenset()
    follows: bool = False
    merges: bool = False


class PullForge(Protocol):
    """Port to the forges of watched pull requests. A call may take seconds; callers hold no lock."""

    def read(self, pull: PullPlace) -> PullState:
        """Return what the forge shows now. Raises ConfigError, RefusedError, NotFoundError, UsageError, or
        UnavailableError, whose detail `wait_s` says for how many seconds the forge accepts no requests."""

    def forget(self, pull: PullPlace) -> None:
        """Drop the cached answers about the pull request. Idempotent."""

    def merge(self, pull: PullPlace, head: str) -> None:
        """Merge the pull request if its head is this commit. Idempotent with `head`. Raises as `read`."""


class PullWork(Protocol):
    """Port to the work on a change: messages to its run, landings on its branch, and pushes."""

    def send(self, run: Run, text: str, by: str) -> Run:
        """Send a message to the run's session, workspace or continuation, through admission; return the run
        that gets it. Raises UsageError, RefusedError and the other errors of a dispatch."""

    def suspend(self, run: Run, by: str) -> None:
        """Suspend an interactive run after its turn; do nothing if it has no turn. Idempotent."""

    def land(self, run: Run, branch: str, by: str) -> None:
        """Queue the landing of the run's change on the branch, with its gates. Idempotent. WorkspaceError."""

    def push(self, pull: PullPlace) -> None:
        """Push the branch to the repository of the pull request. Idempotent. WorkspaceError; UsageError if
        the remote names another repository by now."""
