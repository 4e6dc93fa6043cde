"""The table of watched pull requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.git.pull_state import PullPlace
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


TABLES: tuple[type[Record], ...] = (WatchedPull,)
