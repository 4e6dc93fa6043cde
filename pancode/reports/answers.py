"""The brief, the audit, metrics and the timeline of a run, as the API returns them."""

from typing import Any

from typing_extensions import TypedDict

from pancode.budget.answers import CostRow, ScopeShape
from pancode.kernel.route import Route
from pancode.runs.answers import BriefLine, InboxShape, RunShape


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


class BriefShape(TypedDict):
    """A summary of a period. `outcomes`: the number of runs by outcome; `waits`: what waits for a user;
    `held`: runs that have not begun, one line for each reason."""

    by: str
    since: str
    until: str
    outcomes: dict[str, int]
    ran: list[BriefLine]
    waits: list[BriefLine]
    held: list[BriefLine]
    landed: list[BriefLine]
    cost: CostRow
    by_agent: list[CostRow]
    running: int
    queued: int


class NeedShape(TypedDict):
    """An item that needs the user. `kind`: that of the inbox item; for a problem, its status or `broken`.

    `title`: the first line of the task. `words`: the question, or what happened. `approves`: everything that
    an approval covers; empty: not an approval. `item`: the inbox item to answer; null: use `command`.
    """

    kind: str
    run: str | None
    node: str | None
    title: str
    words: str
    approves: str
    command: str
    since: str | None
    item: InboxShape | None


class ReviewShape(TypedDict):
    """The number of changes to review; `verified`: those whose gates passed. `command` lists them."""

    changes: int
    verified: int
    command: str


class NodeTrouble(TypedDict):
    node: str
    state: str
    since: str | None
    words: str
    command: str


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


class NowAnswer(TypedDict):
    """What a user sees first. Each run is in only one of the lists. `working`: active runs, except `chats`,
    which wait for a message of the user; `waiting`: the next runs to begin, of `waiting_count` in all;
    `nodes`: those with problems."""

    as_of: str
    needs: list[NeedShape]
    review: ReviewShape
    working: list[WorkingRun]
    waiting: list[WorkingRun]
    waiting_count: int
    chats: list[WorkingRun]
    nodes: list[NodeTrouble]
    ended: EndedShape
    money: MoneyShape


class ReportShape(TypedDict):
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
REPORT = Route[ReportShape]("GET /v1/report")
