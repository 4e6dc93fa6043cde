"""A tracker in memory, which notes what is written, and fails right behind a write when it is asked to."""

from __future__ import annotations

from pancode.git.forge_rules import TrackerPlace
from pancode.issues.hooks import IssueTracking
from pancode.issues.model import Issue, IssueState
from pancode.kernel.errors import ConfigError, NotFoundError, PancodeError, UnavailableError
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.user_environment import Around
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator

FIRST = Issue(
    "SHOP-12",
    "12",
    "Add login",
    "Users should log in.",
    "https://git.example.org/o/r/issues/12",
    IssueState.OPEN,
    ("feature",),
    ("ana",),
    "bea",
)


class Tracking(IssueTracking):
    """The part of a coordinator, with trackers in memory; it counts the requests to look at once."""

    trackers: MemoryTrackers

    def __init__(self, core: Core, around: Around) -> None:
        super().__init__(core, around, MemoryTrackers())
        self.hurried = 0

    def hurry(self) -> None:
        self.hurried += 1


def track_issues(coordinator: MemoryCoordinator) -> Tracking:
    """Give this coordinator trackers in memory."""
    made = coordinator.by_kind[IssueTracking] = Tracking(coordinator.core, coordinator.around)
    return made


class MemoryTrackers:
    """pancode.issues.model.Trackers, with issue SHOP-12."""

    def __init__(self) -> None:
        self.there = {FIRST.ref: FIRST}
        self.comments: dict[str, str] = {}
        self.written: list[str] = []
        self.breaks: set[int] = set()
        """Writes, counted from 1, whose answer is lost."""
        self.expired = False
        """Its token is not accepted any more."""
        self.find_limited: PancodeError | None = None
        """It takes no more requests."""

    def issue(self, place: TrackerPlace, ref: str) -> Issue:
        self._ask()
        if self.expired:
            what, fix = "github.com does not accept the token tracker", "pancode config secret tracker"
            raise ConfigError(what, why="HTTP 401: Bad credentials", fix=fix, code="forge_token")
        if ref not in self.there:
            raise NotFoundError(f"no {ref}", fix="pancode issue ls")
        return self.there[ref]

    def issues(self, place: TrackerPlace, prefix: str, most: int, label: str = "") -> list[Issue]:
        self._ask()
        mine = [one for one in self.there.values() if not label or label in one.labels]
        return mine[:most]

    def move(self, place: TrackerPlace, issue: Issue, state: IssueState) -> None:
        self.there[issue.ref] = replace(self.there[issue.ref], state=state)
        self._wrote(f"state {state}")

    def comment(self, place: TrackerPlace, issue: Issue, text: str, known: str) -> str:
        mark = text.partition("\n")[0]
        name = known or next((one for one, said in self.comments.items() if said.startswith(mark)), "")
        name = name or f"c{len(self.comments) + 1}"
        self.comments[name] = text
        self._wrote(text.partition("\n")[2])
        return name

    def _ask(self) -> None:
        if self.find_limited is not None:
            raise self.find_limited

    def _wrote(self, what: str) -> None:
        self.written.append(what)
        if len(self.written) in self.breaks:
            raise UnavailableError("the tracker does not answer", why="cut")
