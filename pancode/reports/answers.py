"""The brief, the audit, metrics and the timeline of a run, as the API returns them."""

from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict

from pancode.budget.answers import CostRow, ScopeShape
from pancode.kernel.route import Route
from pancode.runs.answers import BriefLine, Need, NeedGroup, RunShape


class DecisionShape(TypedDict):
    at: str
    kind: str
    what: str
    verdict: str
    detail: str


class WhyShape(TypedDict):
    """Every decision about one run, in order. `now`: what the run waits for, or how it ended."""

    run: str
    now: str
    decisions: list[DecisionShape]


class FeedShape(TypedDict):
    """An event as `pancode audit --events` and `GET /v1/events` report it. `number` increases."""

    number: int
    at: str
    kind: str
    run: str | None
    node: str | None
    data: dict[str, Any]


class AuditVerdictShape(TypedDict):
    """`PASS`, or `FAIL` with the first inconsistent entry. `head`: digest of the newest entry checked."""

    verdict: str
    entries: int
    head: str
    entry: int | None
    why: str
    anchored: int
    """The number of the last audit entry covered by a signature with the fleet's key; 0: none."""


class AuditRow(TypedDict):
    number: int
    at: str
    domain: str
    level: str
    what: str
    run: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BriefShape:
    """A summary of a period. `outcomes`: the number of runs by outcome; `waits`: what needs a user; `notes`:
    costs to settle; `held`: runs that have not begun, one line for each reason."""

    by: str
    since: str
    until: str
    outcomes: dict[str, int]
    ran: list[BriefLine]
    waits: tuple[Need, ...]
    notes: list[BriefLine]
    held: list[BriefLine]
    landed: list[BriefLine]
    cost: CostRow
    by_agent: list[CostRow]
    running: int
    queued: int


@dataclass(frozen=True, slots=True)
class NeedsOfGroup:
    """A group of needs; `count`: how many there are."""

    group: NeedGroup
    title: str
    count: int
    needs: tuple[Need, ...]


class EndedShape(TypedDict):
    """The runs that ended since the user's last visit: their number by state, and the newest ones."""

    since: str
    count: int
    states: dict[str, int]
    runs: list[RunShape]


class MoneyShape(TypedDict):
    """Costs. `over`: budget scopes above their ceilings. `notes`: costs that are unknown or disputed."""

    day: ScopeShape | None
    over: list[ScopeShape]
    notes: list[BriefLine]


class WorkingRun(RunShape):
    """A run that has not ended. `limit_usd`: the run's own cost limit; null: none."""

    limit_usd: str | None


@dataclass(frozen=True, slots=True)
class NowAnswer:
    """What a user sees first. `groups`: everything that needs the user; `count`: how many needs there are;
    `summary`: the same as text, empty if nothing needs the user. Each run is in only one of the lists.
    `working`: active runs, except `chats`, which wait for a message of the user; `waiting`: the next runs to
    begin, of `waiting_count` in all."""

    as_of: str
    count: int
    summary: str
    groups: tuple[NeedsOfGroup, ...]
    working: list[WorkingRun]
    waiting: list[WorkingRun]
    waiting_count: int
    chats: list[WorkingRun]
    ended: EndedShape
    money: MoneyShape

    @property
    def needs(self) -> list[Need]:
        """Return the needs of all groups, in order."""
        return [need for one in self.groups for need in one.needs]


@dataclass(frozen=True, slots=True)
class NeedAnswer:
    """The need that was dismissed, or is listed again."""

    need: str


@dataclass(frozen=True, slots=True)
class ReportShape:
    """A brief of a longer period, with the cost by day and by repository."""

    brief: BriefShape
    by_day: list[CostRow]
    by_repository: list[CostRow]


class FigureShape(TypedDict):
    name: str
    labels: dict[str, str]
    value: float


class FiguresAnswer(TypedDict):
    figures: list[FigureShape]
    text: str


class AuditAnswer(TypedDict):
    audit: list[AuditRow]
    next: str | None
    """The cursor of the next page; None on the last page."""


class LookedAnswer(TypedDict):
    by: str


WHY = Route[WhyShape]("GET /v1/runs/{run}/why")
METRICS = Route[FiguresAnswer]("GET /v1/metrics")
AUDIT = Route[AuditAnswer]("GET /v1/audit")
AUDIT_VERDICT = Route[AuditVerdictShape]("GET /v1/audit/verify")
BRIEFING = Route[BriefShape]("GET /v1/brief")
LOOKED = Route[LookedAnswer]("POST /v1/brief/looked")
NOW = Route[NowAnswer]("GET /v1/now")
NEED_DONE = Route[NeedAnswer]("POST /v1/needs/{need}/done")
NEED_UNDO = Route[NeedAnswer]("POST /v1/needs/{need}/undo")
REPORT = Route[ReportShape]("GET /v1/report")
