"""The rows beside runs and nodes: workflows, schedules, webhooks, requests, tokens, ended runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from node_agent.wire.failure import Outcome
from pancode.core.states import WorkflowKind, WorkflowState, WorkflowStepState
from pancode.core.terms import Record, Table


@dataclass(frozen=True, slots=True)
class AuditAnchor(Record):
    """The digest of an entry of the audit, signed with the fleet's key: it shows a rewritten chain."""

    TABLE: ClassVar = Table("anchors", ("number",))
    number: int
    """Of the entry."""
    envelope: str
    """Signed JSON: fleet, entry, head, time."""


@dataclass(frozen=True, slots=True)
class EndedRun(Record):
    """A run that has ended, as costs, records, workers and briefs count it. Written with the run itself."""

    TABLE: ClassVar = Table("ended_runs", ("run",), ("ended_ms", "last_ms"))
    run: str
    ended_ms: int
    agent: str
    model: str | None
    runtime: str
    kind: str
    """Of its task."""
    repository: str | None
    node: str | None
    outcome: Outcome
    started: bool
    counts: bool
    """Whether it says something of its agent: its receipt was accepted, and no other is at fault."""
    judges: bool
    """It has run the gates on the result of another run, and did no work of its own."""
    landed: bool
    reverted: bool
    left: bool
    """It needs a look of a person, as far as itself tells."""
    retry_of: str | None
    ms: int
    """From its first start to its end."""
    usd: Decimal
    """Booked, of all its attempts; and so are `tokens` and `agent_ms`."""
    tokens: int
    agent_ms: int
    unknown: bool
    """The cost of an attempt is not known."""
    first_ms: int | None
    """When something was booked for it first, and `last_ms` last; None: it never cost anything."""
    last_ms: int | None
    size: str = ""
    """Of its task; empty: not known."""


@dataclass(frozen=True, slots=True)
class RunNote(Record):
    """What a run in a repository or a lane decided, did and left open, out of its accepted receipt."""

    TABLE: ClassVar = Table("notes", ("run",), ("project,at_ms", "at_ms"))
    run: str
    at_ms: int
    project: str
    """Absolute path of the user's repository; empty: it has none."""
    agent: str
    commit: str | None
    """Of its result; None: it changed nothing."""
    receipt: str
    """The receipt's digest; empty: not known."""
    task: str
    """In short."""
    parts: dict[str, str] = field(default_factory=dict, hash=False)
    """By their names in the form of its report."""


@dataclass(frozen=True, slots=True)
class Workflow(Record):
    """Several steps that need each other, as they were asked for, and how far they are."""

    TABLE: ClassVar = Table("workflows", ("id",), ("created_ms", "state"))
    id: str
    created_ms: int
    created_by: str
    kind: WorkflowKind
    name: str
    input: str
    """The text that `$INPUT` stands for."""
    cwd: str | None
    concurrency: int | None = None
    """So many of its runs at once; None: as many as the fleet has room for."""
    stagger_ms: int = 0
    """So long after the one before it a run may begin."""
    fail_fast: bool = False
    budget: Decimal | None = None
    """The most that all of its runs may cost together."""
    race: dict[str, object] = field(default_factory=dict)
    """`by`: first, score or smallest; `score`: the command. Empty: it is no race."""
    caller: dict[str, object] = field(default_factory=dict)
    """The caller's own settings and preset, which later steps are dispatched with, and whether it lands."""
    state: WorkflowState = WorkflowState.RUNNING
    reason: str = ""
    winner: str | None = None
    """The step that won the race."""
    stop_asked: str | None = None
    finished_ms: int | None = None
    retry_of: str | None = None
    receipt: str | None = None
    """Its signed summary: an envelope, JSON."""
    board: dict[str, object] = field(default_factory=dict)
    """By `NAMESPACE/KEY`: the value that its workers share, which run and step wrote it, and when."""
    lane: dict[str, object] = field(default_factory=dict)
    """Of a lane: `defaults` of its items, `goes_on` after one that failed, `paused` and by whom,
    `stands`: the `run` of the item at which it waits for a person, and `what` that is in words."""


@dataclass(frozen=True, slots=True)
class WorkflowStep(Record):
    """One step of a workflow: as it was asked for, its runs, and what came of it."""

    TABLE: ClassVar = Table("workflow_steps", ("workflow", "number"), ("workflow",))
    workflow: str
    number: int
    name: str
    needs: tuple[str, ...]
    request: dict[str, object]
    """The request of its runs: the fields of a DispatchRequest that are not left out."""
    files: tuple[str, ...] = ()
    """Names and patterns of files of its result that later steps may use."""
    until: dict[str, object] = field(default_factory=dict)
    """`field` and `equals`: what its verdict must say, or a round begins again. Empty: one round."""
    most: int = 1
    """Rounds."""
    verdict: dict[str, object] = field(default_factory=dict)
    """`file` and `schema`: which JSON file its run must write, and what may stand there."""
    back_to: str | None = None
    """The step where a round begins again; None: itself."""
    state: WorkflowStepState = WorkflowStepState.WAITING
    round: int = 1
    run: str | None = None
    runs: tuple[str, ...] = ()
    """All its runs, the oldest first."""
    reason: str = ""
    outputs: dict[str, object] = field(default_factory=dict)
    """`of` (the run), `files`, `verdict`, `score`, `conflict`; as far as there are."""
    started_ms: int | None = None
    finished_ms: int | None = None
    lost: str | None = None
    """Its run that was lost and may still be at work: it is taken when it is heard of, or replaced."""
    begins_ms: int | None = None
    """It does not begin before this time: a circuit breaker is open, or a ceiling has no room."""
    item: dict[str, object] = field(default_factory=dict)
    """Of a lane: `place` in its order, `by` and `at_ms` of who added it, `caller`, `priority`; `key`,
    `expires_ms` and `skip` as far as there are."""


class FiringState(StrEnum):
    """Life of one firing; the last four are ends."""

    WAITING = "waiting"
    """For the end of the one before it."""
    STARTING = "starting"
    """It has the id of its run or workflow, which may not be there yet."""
    BEGUN = "begun"
    REFUSED = "refused"
    """The work did not pass its gates, or could not be resolved."""
    FAILED = "failed"
    """A fault of our own."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Schedule(Record):
    """Work that begins at a time or on an event, as it was asked for."""

    TABLE: ClassVar = Table("schedules", ("name",))
    name: str
    created_ms: int
    created_by: str
    trigger: dict[str, object]
    """`kind`: cron, at, event or push; and its own words."""
    work: dict[str, object]
    """What begins: a dispatch or a workflow, with the caller's settings and preset."""
    missed: str = "once"
    """once, none, all: the missed times that fire later, when no coordinator was there."""
    overlap: bool = False
    """It may begin while its last one still runs."""
    paused: str | None = None
    """Why it does not fire now; None: it does."""
    seen_ms: int = 0
    """Its times up to this one have been dealt with."""
    next_ms: int | None = None
    """None: no time follows."""
    mark: str = ""
    """Of an event or a push: the newest one that has been dealt with."""
    trouble: str = ""
    """Why its repository could not be looked at; empty: it could."""


@dataclass(frozen=True, slots=True)
class Firing(Record):
    """One beginning of a schedule. No two have the same key: a time, event, commit or call."""

    TABLE: ClassVar = Table("firings", ("schedule", "key"), ("schedule,at_ms", "state", "run", "workflow"))
    schedule: str
    key: str
    """The minute in UTC, the number of an event, a commit, or the moment at which a person asked."""
    at_ms: int
    """When it was due."""
    state: FiringState = FiringState.WAITING
    run: str | None = None
    workflow: str | None = None
    reason: str = ""
    fix: str = ""
    cause: dict[str, object] = field(default_factory=dict)
    """The event, the commit or the person behind it; empty: its time had come."""
    depth: int = 0
    """How many firings on events led to this one."""
    late: bool = False
    """It makes up for a time at which nobody was there."""
    done_ms: int | None = None


class DeliveryState(StrEnum):
    """Life of a delivery; the last two are ends."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Webhook(Record):
    """An address that is sent signed events."""

    TABLE: ClassVar = Table("webhooks", ("name",))
    name: str
    url: str
    created_ms: int
    created_by: str
    events: tuple[str, ...]
    """Occasions and kinds of events; a kind may end with `.*`."""


@dataclass(frozen=True, slots=True)
class Delivery(Record):
    """One message to one target: kept from the transaction after its event until long after its end."""

    TABLE: ClassVar = Table("deliveries", ("id",), ("target,created_ms", "state"))
    id: str
    """Target and number of the event, so that none is made twice."""
    target: str
    """`notify:CHANNEL` or `webhook:NAME`."""
    created_ms: int
    kind: str
    body: dict[str, object]
    due_ms: int
    state: DeliveryState = DeliveryState.WAITING
    tries: int = 0
    status: str = ""
    """What the other side said last."""
    done_ms: int | None = None
    tried_ms: int | None = None


@dataclass(frozen=True, slots=True)
class KeyedRequest(Record):
    """A request with an idempotency key: written before it begins, and again with its answer."""

    TABLE: ClassVar = Table("keyed_requests", ("who", "key"), ("created_ms",))
    who: str
    """The owner (`socket`), a token (`token:DIGEST`) or a run (`run:ID`)."""
    key: str
    route: str
    digest: str
    """SHA-256 of the body, hexadecimal."""
    created_ms: int
    status: int | None = None
    """Of the answer; None: there is none yet, or it was never written."""
    answer: str = ""
    """JSON, as it was sent."""


@dataclass(frozen=True, slots=True)
class ApiToken(Record):
    """A token. Its secret is told once and kept nowhere."""

    TABLE: ClassVar = Table("tokens", ("name",), ("digest",))
    name: str
    digest: str
    """SHA-256 of the secret, hexadecimal."""
    scopes: tuple[str, ...]
    created_ms: int
    created_by: str
    expires_ms: int | None = None
    """None: never."""
    item: str | None = None
    """The one thing of the inbox that it may answer, and `run` the run of that; None: it is bound to none."""
    run: str | None = None
    used_ms: int | None = None
    """Its last use, to the minute; None: it was never used."""
