"""What a forge shows of a pull request: its head commit, the checks of that commit, and people's remarks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PullStatus(StrEnum):
    """Whether the pull request may still be merged."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class CheckResult(StrEnum):
    """The result of a check; a skipped or neutral one has passed."""

    PASSED = "passed"
    FAILED = "failed"
    PENDING = "pending"


class ReviewVerdict(StrEnum):
    """What a remark says about the whole change. WITHDRAWN: its author's earlier verdict no longer counts."""

    NONE = "none"
    APPROVED = "approved"
    CHANGES = "changes requested"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class PullCheck:
    """A check of the head commit. `text`: what it reports, as the forge's users and programs wrote it."""

    name: str
    result: CheckResult
    text: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class PullRemark:
    """A review or a comment. `id`: unique in its pull request. `author`: a login of the forge. `is_current`:
    whether it was made on the head commit. `where`: the file and line that it is about, or empty."""

    id: str
    author: str
    text: str
    verdict: ReviewVerdict = ReviewVerdict.NONE
    is_current: bool = True
    where: str = ""


@dataclass(frozen=True, slots=True)
class PullState:
    """A pull request as its forge shows it now. `head`: the commit of its branch; `remarks`: oldest first.
    `held`: why the forge would not merge it now, such as draft; `trouble`: why a part could not be read, with
    a fix. Both empty: it can be merged, and is complete."""

    status: PullStatus
    head: str
    checks: tuple[PullCheck, ...] = ()
    remarks: tuple[PullRemark, ...] = ()
    held: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class PullPlace:
    """Where an opened pull request is. `project`: the repository on this machine; `remote`: the name of its
    git remote; `repository`: host, owner and name; `again`: the commands that watch it at another remote."""

    project: str
    remote: str
    branch: str
    forge: str
    repository: str
    number: int
    again: str


@dataclass(frozen=True, slots=True)
class PullOpened:
    """A pull request that PanCode has opened. `repository`: host, owner and name; `remote`: the name of the
    git remote; `by`: the user who requested it; `follow`: whether checks and remarks start work."""

    forge: str
    repository: str
    number: int
    url: str
    remote: str
    branch: str
    by: str
    follow: bool = False
