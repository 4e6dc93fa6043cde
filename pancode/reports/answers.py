"""The brief, the audit, figures and the timeline of a run as the API shows them."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from pancode.budget.answers import CostRow
from pancode.kernel.route import Route
from pancode.runs.answers import BriefLine


class DecisionShape(TypedDict):
    at: str
    kind: str
    what: str
    verdict: str
    detail: str


class WhyShape(TypedDict):
    """Every decision about one run, in order; `now` says what it waits for or how it ended."""

    run: str
    now: str
    decisions: list[DecisionShape]


class FeedShape(TypedDict):
    """Something that happened, as `pancode audit --events` and `GET /v1/events` tell it. `number` grows."""

    number: int
    at: str
    kind: str
    run: str | None
    node: str | None
    data: dict[str, Any]


class AuditVerdictShape(TypedDict):
    """`PASS`, or `FAIL` with the first entry that does not fit. `head`: digest of the newest one checked."""

    verdict: str
    entries: int
    head: str
    entry: int | None
    why: str
    anchored: int
    """The last entry up to which a signature of the fleet's key holds the chain in place; 0: none."""


class AuditRow(TypedDict):
    number: int
    at: str
    domain: str
    level: str
    what: str
    run: str | None
    detail: dict[str, Any]


class BriefShape(TypedDict):
    """A summary of a period. `outcomes`: the number of runs by outcome; `waits`: for a user; `held`: what
    has not begun, and why, a line for each reason."""

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


class ReportShape(TypedDict):
    """A brief of a longer time, with the cost of each day and each repository."""

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
    """The cursor of the next page; None: the list ends here."""


class LookedAnswer(TypedDict):
    by: str


WHY = Route[WhyShape]("GET /v1/runs/{run}/why")
METRICS = Route[FiguresAnswer]("GET /v1/metrics")
AUDIT = Route[AuditAnswer]("GET /v1/audit")
AUDIT_VERDICT = Route[AuditVerdictShape]("GET /v1/audit/verify")
BRIEFING = Route[BriefShape]("GET /v1/brief")
LOOKED = Route[LookedAnswer]("POST /v1/brief/looked")
REPORT = Route[ReportShape]("GET /v1/report")
