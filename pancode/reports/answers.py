"""The brief, the audit, figures and the timeline of a run, in the form of the API."""

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
    """Every decision about one run, in order; `now`: what it waits for or how it ended."""

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
    """The last entry that is covered by a signature with the fleet's key; 0: none."""


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
    `held`: runs that have not begun, a line for each reason."""

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
    """A brief of a longer period, with the cost of each day and each repository."""

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
