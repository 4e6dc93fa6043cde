"""The tables of issues and kept plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class IssueWork(Record):
    """The work on one issue. `workspace`: where its runs are; `said`: what was last reported to the tracker.

    `state`: the issue's state as reported to the tracker; `text`: the issue's text as its runs know it;
    `pull`: the address of its pull request; `comment`: the tracker's id of PanCode's comment; `trouble`: why
    the tracker could not be updated. `run`: its newest run, recorded before it is queued, in this `epoch`: a
    coordinator that is killed in between leaves a record without its run. `tracker`: its kind. `ended`: the
    issue is closed, and its change has landed or was dropped.
    """

    TABLE: ClassVar = Table("issue_works", ("workspace",), ("ended,began_ms",))
    workspace: str
    ref: str
    title: str
    url: str
    project: str
    by: str
    began_ms: int
    text: str
    tracker: str
    state: str = ""
    said: str = ""
    pull: str = ""
    comment: str = ""
    trouble: str = ""
    run: str = ""
    epoch: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class KeptPlan(Record):
    """The newest plan that a user has kept in a workspace. `plan`, `questions`: SHA-256 of its two files."""

    TABLE: ClassVar = Table("plans", ("workspace",))
    workspace: str
    plan: str
    questions: str
    kept_ms: int
    kept_by: str
