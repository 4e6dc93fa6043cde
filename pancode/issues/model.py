"""Defines an issue, its tracker, and the task for the run that works on it. Pure, except for the port."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pancode.agents.prompts import present_material
from pancode.git.forge_rules import RemoteRepository, TrackerKind, TrackerPlace
from pancode.kernel.errors import NotFoundError, PancodeError, UsageError
from pancode.kernel.formatting import escape_line, reveal_invisible
from pancode.kernel.names import plan_file
from pancode.runs.project_rules import NamedProject

MOST_TEXT, MOST_TITLE = 20_000, 200
"""The most characters of an issue's text, and of its title, in a task."""
_PLACE = re.compile(r"(github|gitlab|linear):(.+)")
ISSUE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}-([0-9]{1,12})")
"""The form of an issue's reference, such as MIN-123."""


class IssueState(StrEnum):
    """The progress of work on an issue. Trackers without these states use labels with these names."""

    OPEN = "open"
    PROGRESS = "in progress"
    REVIEW = "in review"
    DONE = "done"
    CLOSED = "closed"
    """The issue was abandoned, or a user has closed it."""


OVER = (IssueState.DONE, IssueState.CLOSED)
LABELS = (IssueState.PROGRESS, IssueState.REVIEW)
"""The states that are labels in a tracker whose only states are open and closed."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue as its tracker returns it. Its text is untrusted. `id`: the tracker's own id of the issue.

    `accounts`: the accounts of the assigned users, else of the author, for a tracker where `assignees` and
    `author` are freely chosen names; None if these are account names already.
    """

    ref: str
    id: str
    title: str
    text: str
    url: str
    state: IssueState
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    author: str = ""
    accounts: tuple[str, ...] | None = None


class Trackers(Protocol):
    """Port to trackers over the network. Each call may take seconds; callers hold no lock meanwhile.

    Raises ConfigError without a token; NotFoundError, RefusedError or UnavailableError with the tracker's
    text. After a tracker reports a rate limit, no requests are sent until the time that it names.
    """

    def issue(self, place: TrackerPlace, ref: str) -> Issue:
        """Return the issue with this reference."""

    def issues(self, place: TrackerPlace, prefix: str, most: int, label: str = "") -> Sequence[Issue]:
        """Return the unfinished issues, last changed first; with `label`, only those that have it."""

    def move(self, place: TrackerPlace, issue: Issue, state: IssueState) -> None:
        """Put the issue into this state. Idempotent."""

    def comment(self, place: TrackerPlace, issue: Issue, text: str, known: str) -> str:
        """Create or change PanCode's one comment on the issue; return its id in the tracker. Idempotent.

        `known`: that id; if empty, find the comment by its first line among those of the token's account. If
        the comment may not be changed, leave it and create another.
        """


def tracker_of(text: str) -> TrackerPlace:
    """Parse `github:OWNER/REPO`, `gitlab:[HOST/]GROUP/REPO` or `linear:TEAM`. UsageError otherwise."""
    match = _PLACE.fullmatch(text)
    if match is None or not all(re.fullmatch(r"[A-Za-z0-9._-]{1,100}", word) for word in match[2].split("/")):
        raise _no_tracker(text)
    kind, words = TrackerKind(match[1]), match[2].split("/")
    if kind is TrackerKind.LINEAR and len(words) == 1:
        return TrackerPlace(kind, RemoteRepository("linear.app", "team", words[0]))
    host = f"{kind}.com"
    if len(words) > 2 and "." in words[0]:
        host, words = words[0].lower(), words[1:]
    if kind is TrackerKind.LINEAR or len(words) < 2 or (len(words) > 2 and kind is TrackerKind.GITHUB):
        raise _no_tracker(text)
    return TrackerPlace(kind, RemoteRepository(host, "/".join(words[:-1]), words[-1]))


def _no_tracker(text: str) -> UsageError:
    fix = "use --tracker github:OWNER/REPO, gitlab:[HOST/]GROUP/REPO or linear:TEAM"
    return UsageError(f"{text[:80]!r} is not a tracker", fix=fix, code="bad_value")


def place_of(project: NamedProject) -> TrackerPlace:
    """Return the tracker of this project. Raises UsageError if the project has none."""
    if not project.tracker:
        linear = f"linear:{project.prefix.upper()}" if project.prefix else "linear:TEAM"
        tracker = linear if project.linear_id or project.linear_name else "github:OWNER/REPO"
        fix = f"pancode project add --name {project.name} --tracker {tracker}"
        raise UsageError(f"project {project.name} has no tracker", fix=fix, code="no_tracker")
    return tracker_of(project.tracker)


def must_name_accounts(project: NamedProject) -> None:
    """Raise UsageError if a user who may start work has a name that anyone in the tracker could choose."""
    named = [one for one in project.work_people if "@" not in one]
    if named and project.tracker and place_of(project).kind is TrackerKind.LINEAR:
        raise UsageError(
            f"--work-person {named[0][:80]} of project {project.name} is not a Linear account",
            why="names in Linear can be chosen freely; an account is the email address of its login",
            fix=f"pancode project add --name {project.name} --work-person NAME@EXAMPLE.ORG",
            code="bad_value",
        )


def read_wait_s(error: PancodeError) -> float:
    """Return the seconds until the tracker accepts requests again; 0 if the error names no time."""
    return float(error.details.get("wait_s", 0))


def number_of(ref: str, prefixes: Sequence[str] = ()) -> int:
    """Return the number in a reference such as MIN-123. Raises NotFoundError for any other text; `prefixes`:
    those of the projects that a bare number can mean."""
    match = ISSUE.fullmatch(ref)
    if match is None:
        why = "an issue is named by its project's prefix and its number, such as SHOP-12"
        fix = " or ".join([*(f"write {one}-{ref}" for one in prefixes), "see: pancode issue ls"])
        raise NotFoundError(f"issue {ref!r} not found", why=why, fix=fix, code="issue_not_found")
    return int(match[1])


def task_of(issue: Issue, has_plan: bool) -> str:
    """Return the task for a run that works on the issue. `has_plan`: a user has kept a plan for the issue."""
    plan = f"Carry out the plan in {plan_file(issue.ref.lower())}. " if has_plan else ""
    return (
        f"Work on issue {issue.ref}.\n\n"
        f"Do what it asks for in this repository, with its tests, and nothing beside it. "
        f"{plan}{mark_untrusted(issue)}"
    )


_REST = "\n[the rest is in the tracker]"


def shorten_text(text: str, most: int = MOST_TEXT) -> str:
    """Return the text; if longer than `most` characters, cut it there and append a note."""
    return text if len(text) <= most else f"{text[:most]}{_REST}"


def words_of(issue: Issue) -> str:
    """Return the part of the issue's text that an agent gets, to detect when that part changes."""
    return f"{issue.title[:MOST_TITLE]}\n{issue.text[:MOST_TEXT]}"


def mark_untrusted(issue: Issue, most: int = MOST_TEXT) -> str:
    """Return the issue's untrusted text between marks, as material and not as instructions. `most`: the most
    characters of text."""
    by = f"\n(by {escape_line(issue.author)[:MOST_TITLE]})" if issue.author else ""
    # format_block spells out invisible characters
    shown = reveal_invisible(shorten_text(issue.text, most).replace("\r\n", "\n"))
    text = f"{escape_line(issue.title)[:MOST_TITLE]}{by}\n\n{shorten_text(shown, most + len(_REST))}"
    return present_material("the issue, as users wrote it. It says what is wanted", text)
