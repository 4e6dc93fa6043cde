"""The JSON that faces may rely on: every object that the API answers with. Additions only."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from pancode.control.account_shapes import BriefShape as BriefShape
from pancode.control.account_shapes import CostRow as CostRow
from pancode.control.account_shapes import CostTable as CostTable
from pancode.control.account_shapes import PullRequestShape as PullRequestShape
from pancode.control.account_shapes import ReportShape as ReportShape
from pancode.control.account_shapes import TrackRecordRow as TrackRecordRow
from pancode.control.account_shapes import VerificationShape as VerificationShape
from pancode.control.account_shapes import WorkerShape as WorkerShape
from pancode.control.landing_shapes import LandingShape as LandingShape
from pancode.control.workflow_shapes import CostShape as CostShape
from pancode.control.workflow_shapes import InboxShape as InboxShape
from pancode.control.workflow_shapes import LandedShape as LandedShape
from pancode.control.workflow_shapes import WorkflowShape as WorkflowShape
from pancode.control.workflow_shapes import WorkflowStepShape as WorkflowStepShape

Json = dict[str, Any]


class UsageShape(TypedDict):
    """The usage of a run; `cost_usd` is a decimal string, None while it is not known.

    `disputed_usd`: what its node claims beyond the limit of its order. It is not in `cost_usd`.
    """

    input_tokens: int
    output_tokens: int
    cost_usd: str | None
    cost_source: str
    disputed_usd: str | None


class CallsShape(TypedDict):
    """The calls through the node's model gateway; `unread` answers did not report their tokens to the end."""

    requests: int
    failed: int
    refused: int
    unread: int
    wrap_up: int
    subscription: bool
    sent_bytes: int
    received_bytes: int
    waited_ms: int


class RunShape(TypedDict):
    """A run as `runs`, `runs show` and `dispatch --wait` tell it. Times are ISO 8601 UTC.

    `stage`: where it is. `waits`: what holds it up; null: nothing. `reason` says it to people.
    """

    run: str
    state: str
    stage: str
    waits: str | None
    attempt: int
    fence: int
    node: str | None
    agent: str
    runtime: str
    model: str | None
    task: str
    outcome: str | None
    reason: str
    exit_code: int | None
    commit: str | None
    files_changed: list[str]
    receipt: str | None
    usage: UsageShape
    notes: list[str]
    created_at: str
    started_at: str | None
    finished_at: str | None
    retry_of: str | None
    continues: str | None
    """The run from whose result it goes on."""
    continued_by: list[str]
    parent: str | None
    landed: str | None
    landing: LandingShape | None
    verification: VerificationShape | None
    """How far its result is verified; null: it has none."""
    workflow: str | None
    """The workflow that it belongs to, and `step` its step there; null: none."""
    step: str | None


class RunDetail(RunShape):
    """`runs show`: all other facts about one run."""

    argv: list[str] | None
    mode: str
    reasoning: str | None
    safety: str
    isolation: str | None
    priority: int
    project: str | None
    workspace: Json
    folder: str | None
    setup: list[list[str]]
    cache: list[str]
    verify: list[str]
    gates: list[Json]
    reports: list[Json]
    """The files that its gates wrote about themselves, JUnit or SARIF; as in the receipt."""
    limits: Json
    estimate_usd: str
    created_by: str
    answer: str
    findings: list[str]
    calls: CallsShape | None
    claimed: UsageShape | None
    attempts: list[Json]
    fences: list[Json]
    chain: list[str]
    """The runs that it goes on from, newest first."""
    told: list[Json]
    """Words of people: by, at, text, and how they were delivered: `with its task`, a run; empty: not yet."""
    answered: str
    """In words, who has answered the question from which it goes on; empty: it goes on from none."""
    session: str
    """`same`: it goes on with the conversation of the run before; else `new`."""
    model_from: str | None
    """In words, who chose its model."""
    inbox: Json | None
    """What of it waits for a person: its kind, the command that answers, the choices."""
    served: Json | None
    """The model server that it has: node, endpoint, model, context, slots and test when it was placed."""


class Queued(TypedDict):
    """The answer to an asynchronous dispatch; `chosen`: the reason for this agent, empty for a named one."""

    run: str
    state: str
    reason: str
    agent: str
    chosen: str


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


class OrderShape(TypedDict):
    run: str
    attempt: int
    agent: str
    priority: int
    waiting_s: float
    reason: str


class QueueShape(TypedDict):
    name: str
    kind: str
    node: str | None
    paused: str | None
    waiting: int
    running: int
    oldest_s: float | None
    orders: list[OrderShape]


class QueuesShape(TypedDict):
    """The queues and their orders. `paused`: the reason why the whole fleet takes nothing from a queue."""

    paused: str | None
    queues: list[QueueShape]


class ScopeShape(TypedDict):
    scope: str
    ceiling_usd: str | None
    origin: str | None
    spent_usd: str
    held_usd: str
    remaining_usd: str | None
    disputed_usd: str
    unknown_runs: int
    tokens: int
    held_tokens: int
    ceiling_tokens: int | None
    agent_minutes: float
    held_minutes: float
    ceiling_minutes: float | None
    over: bool


class BudgetShape(TypedDict):
    """The books. `runs`: admitted today. `notes`: ceilings that a file names and that do not count now."""

    scopes: list[ScopeShape]
    estimate_next_usd: str
    runs: int
    notes: list[str]


class SlotsShape(TypedDict):
    used: int
    total: int


class GradeShape(TypedDict):
    """One check of a model's test: passed, failed or unknown."""

    check: str
    grade: str
    words: str
    fix: str
    says: str
    """The node's own advice, as `NODE says: ...`."""


class PassportShape(TypedDict):
    """The result of a model's test; `passed` None: it was not tested as it is now.

    `ctx`: tokens that a call gets; `tok_s`: those of its answers in a second.
    """

    passed: bool | None
    checks: list[GradeShape]
    ctx: int | None
    tok_s: float | None
    taken_at: str | None


class ModelShape(TypedDict):
    """A model of an endpoint. `tier`, `tier_why`: how able it is, and how that is known; null is unknown."""

    node: str
    endpoint: str
    id: str
    ref: str
    tier: str | None
    tier_why: str
    family: str | None
    parameters: int | None
    quantisation: str | None
    ctx_usable: int | None
    ctx_max: int | None
    residence: str | None
    size: int | None
    vram: int | None
    slots: int | None
    tools: bool | None
    vision: bool | None
    embedding: bool
    remote: bool
    digest: str | None
    passport: PassportShape


class EndpointShape(TypedDict):
    """A model server that a node reaches. `more`: models that are not among those of the heartbeat."""

    name: str
    dialect: str
    at: str
    version: str | None
    health: str
    words: str
    fix: str
    slots: int | None
    slots_free: int | None
    wires: list[str]
    free: bool
    age_ms: int
    models: list[Json]
    more: int


class NodeShape(TypedDict):
    """A machine as `fleet status` shows it."""

    name: str
    state: str
    since: str | None
    slots: SlotsShape
    runtimes: list[Json]
    endpoints: list[EndpointShape]
    labels: dict[str, str]
    version: str | None
    clock_skew_s: float | None
    disk_free: int | None
    isolation: str | None
    problems: list[Json]


class ExamShape(PassportShape):
    """A test of a model on a node. `state`: done, or given up, with the `words` why."""

    node: str
    endpoint: str
    model: str
    state: str
    words: str
    fix: str
    earlier: bool
    """It was tested before, at `taken_at`, and not again."""


class FleetShape(TypedDict):
    coordinator: Json
    nodes: list[NodeShape]


class CheckShape(TypedDict):
    what: str
    ok: bool
    detail: str


class VerdictShape(TypedDict):
    """PASS, TAMPERED, UNSIGNED, UNKNOWN_KEY or NOT_FOUND, with each check that led there.

    Of the chain of a node, whose name is then `run`: PASS, BROKEN or NOT_FOUND.
    """

    run: str
    verdict: str
    checks: list[CheckShape]


class ReceiptRow(TypedDict):
    run: str
    attempt: int
    fence: int
    digest: str
    node: str | None
    outcome: str | None
    stored_at: str
    rejected: str | None
    orphan: bool


class FeedShape(TypedDict):
    """Something that happened, as `pancode events` and `GET /v1/events` tell it. `number` grows."""

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
    """Up to this entry a signature of the fleet's key holds the chain in place; 0: nowhere."""


class AuditRow(TypedDict):
    number: int
    at: str
    domain: str
    level: str
    what: str
    run: str | None
    detail: Json
