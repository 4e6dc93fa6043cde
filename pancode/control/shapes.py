"""The JSON that faces may rely on: every object that the API answers with. Additions only."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


class VerdictOfNode(TypedDict):
    """What another node has said of a result. `state`: verified or disputed; `receipt`: where it swore it."""

    state: str
    why: str
    run: str | None
    node: str | None
    receipt: str | None
    waits: bool


class VerificationShape(TypedDict):
    """`state`: verified (gates passed on two machines), partly (on its own alone), unverified (it has no
    gates) or disputed (they failed on the other one). `run`, `node`, `receipt`: those of the other node.

    `waits`: another node is asked, and has not answered yet. `earlier`: the verdicts before, oldest first.
    """

    state: str
    why: str
    run: str | None
    node: str | None
    receipt: str | None
    waits: bool
    earlier: list[VerdictOfNode]


class CostRow(TypedDict):
    """The common cost of a group of runs. `key` null: they have no such property.

    `disputed_usd`: what nodes claim beyond the limits of their orders. It is not in `usd`.
    """

    key: str | None
    runs: int
    usd: str
    disputed_usd: str
    unknown_runs: int
    tokens: int
    agent_minutes: float
    about: str


class CostTable(TypedDict):
    """`by`: the property; `left_out`: so many rows more; `total` is of all."""

    by: str
    since: str | None
    rows: list[CostRow]
    total: CostRow
    left_out: int


class WorkerNow(TypedDict):
    """A run that a worker has now."""

    run: str
    stage: str
    since: str | None
    task: str


class WorkerShape(TypedDict):
    """One agent on one runtime and node. `done`, `stopped`: of its last `runs`, which cost `usd`."""

    agent: str
    runtime: str
    node: str | None
    now: list[WorkerNow]
    runs: int
    done: int
    stopped: int
    usd: str
    unknown_runs: int
    minutes: float


class BriefLine(TypedDict):
    """One thing, and the command that goes on with it."""

    run: str | None
    what: str
    task: str
    command: str
    outcome: NotRequired[str]
    """Of a run that waits for a person."""


class BriefShape(TypedDict):
    """A summary of a period. `outcomes`: the number of runs by outcome; `waits`: for a person; `held`: what
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


class TrackRecordRow(TypedDict):
    """An agent's success at one kind of work in one place. `rate` is smoothed, `low` to `high` its interval.

    `kind`, `size` and `repository` are null in rankings; what each landed change cost is null while nobody
    knows it.
    """

    agent: str
    model: str | None
    runtime: str
    kind: str | None
    size: str | None
    """Of the task: small, medium, large."""
    repository: str | None
    runs: int
    good: int
    landed: int
    reverted: int
    """Landed changes that were taken back later; they are no good runs."""
    rate: float
    low: float
    high: float
    enough: bool
    """Whether so many runs stand behind the rate that it says something."""
    usd_each_landed: float | None
    minutes_each_landed: float | None
    unknown_runs: int


class PullRequestShape(TypedDict):
    """Of a run that has landed on a branch. `fresh` false: it was open already."""

    run: str
    url: str
    number: int
    forge: str
    branch: str
    base: str
    fresh: bool


class LandingShape(TypedDict, total=False):
    """The result of the landing: `waiting`, `landed`, `nothing to land`, `conflict`, `gate failed` ..."""

    status: str
    why: str
    fix: str
    files: list[str]
    tree: str
    branch: str | None
    commit: str
    made: bool
    yes: list[str]
    held: int
    gate: Json | None
    already: str


class FiringShape(TypedDict):
    """One beginning of a schedule. `key`: its time, event, commit or call; `cause`: the same, or a person."""

    key: str
    due_at: str
    state: str
    run: str | None
    workflow: str | None
    reason: str
    fix: str
    cause: dict[str, Any]
    late: bool
    done_at: str | None


class ScheduleShape(TypedDict):
    """Work that begins by itself. `next`: its next five times in words; `running`: its run or workflow.

    `url`: where its webhook is sent to, as far as it is open; `secret`: of that, shown once, when it is made.
    `trigger`, `words`: on what it fires. `task`: what begins. `trouble`: why it cannot look at its branch.
    """

    schedule: str
    created_at: str
    created_by: str
    trigger: dict[str, Any]
    words: str
    kind: str
    task: str
    missed: str
    overlap: bool
    paused: str | None
    next_at: str | None
    next: list[str]
    running: str | None
    trouble: str
    firings: list[FiringShape]
    warnings: list[str]
    url: str | None
    secret: str | None


class HookShape(TypedDict):
    """What came of a signed webhook. `why`: why it begins nothing; empty where it does."""

    schedule: str
    taken: bool
    why: str


class InboxShape(TypedDict):
    """One thing that waits for a person; `kind` as in `ItemKind`; `command` answers it.

    `yes`: the flags that its approval must carry. `plan`: of a run that has not begun: what it is to do, the
    estimate, the `objections` of gates that a yes lifts, and the `digest` that a yes names. `call`: the
    number of the call that waits. `whole`: what a yes for the rest of the run allows, where that is a rule.
    """

    id: str
    run: str
    since: str
    kind: str
    words: str
    choices: list[str]
    command: str
    yes: list[str]
    call: int | None
    whole: str
    plan: dict[str, Any] | None


class CostShape(TypedDict):
    """The common cost of a workflow's runs, by the books; `unknown`: runs whose cost is not known."""

    usd: str
    held_usd: str
    unknown: int
    disputed_usd: str
    tokens: int
    agent_ms: int
    runs: int
    budget_usd: str | None


class LandedShape(TypedDict):
    """The count of the landings of a workflow that were asked for, and that have something to land.

    `waiting`: they are still landed by themselves. `not_landed`: a person goes on; the landing of the step
    has the command.
    """

    asked: int
    landed: int
    waiting: int
    not_landed: int


class WorkflowStepShape(TypedDict):
    """A step of a workflow. `run`: the newest of its `runs`. `refused`: why it was not admitted.

    `state`: `pending` while its run is queued, and `reason` says for what it waits. `task`: its beginning.
    `agent`, `node`: of its run; before there is one, as they were asked for. `answer`: the first line of its
    run's. `verdict_file`: the file in which its runs write a verdict.
    """

    name: str
    state: str
    task: str
    agent: str | None
    node: str | None
    answer: str
    landing: LandingShape | None
    needs: list[str]
    run: str | None
    runs: list[str]
    outcome: str | None
    round: int
    most: int
    reason: str
    refused: str | None
    outputs: dict[str, Any]
    verdict_file: str | None
    started_at: str | None
    finished_at: str | None


class WorkflowShape(TypedDict):
    """A workflow with its steps, in the order in which they were asked for.

    `results`: the runs that have its change, which nothing later in it has changed further. `inbox`: what
    of it waits for a person. `waits_for_person`: nothing goes on before a question is answered.
    """

    workflow: str
    kind: str
    name: str
    state: str
    reason: str
    winner: str | None
    results: list[str]
    steps: list[WorkflowStepShape]
    landed: LandedShape
    inbox: list[InboxShape]
    waits_for_person: bool
    cost: CostShape
    created_at: str
    finished_at: str | None
    created_by: str
    retry_of: str | None
    warnings: list[str]


class LaneItemShape(WorkflowStepShape):
    """An item of a lane: a step of its workflow. `key`: another one with the same key is not added."""

    item: str
    key: str | None
    priority: int
    added_by: str
    added_at: str
    expires_at: str | None


class LaneShape(TypedDict):
    """A lane: work that begins one item after the other. `left`: items that have not come to their end.

    `state`: working, `waits` for room, `asks` a person, `stopped` at an item that did not end well, paused,
    empty or removed. `fix`: the command that helps. `goes_on`: also after an item that failed. `defaults`:
    what counts for each item.
    """

    lane: str
    workflow: str
    state: str
    why: str
    fix: str
    paused_by: str | None
    goes_on: bool
    defaults: dict[str, Any]
    folder: str | None
    items: list[LaneItemShape]
    left: int
    inbox: list[InboxShape]
    cost: CostShape
    created_at: str
    created_by: str


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
    in_workspace: str | None
    """The workspace by whose name it was dispatched."""
    setup: list[list[str]]
    cache: list[str]
    verify: list[str]
    gates: list[Json]
    reports: list[Json]
    """The files that its gates wrote about themselves, JUnit or SARIF; as in the receipt."""
    skills: list[str]
    """The skills that it is given, by name; the receipt has their digests."""
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
    """`now`: so many it takes at once at this time, and `why` these are fewer than all."""

    used: int
    total: int
    now: int
    why: str


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
    """A model of an endpoint. `tier`, `tier_why`: how able it is, and how that is known; null is unknown.

    `decomposes`: how many of the requests it took apart well, such as `7 of 12`; null: it was not asked.
    """

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
    decomposes: str | None


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


class ScoutShape(TypedDict):
    """A question and what a scout has found. `state`: answered, under way, failed, refused.

    `earlier`: it was known of these very files before it was asked now; `age`: since then, in words. `cut`:
    the answer was longer than its depth hands on. `reason`: in words, how the run stands or why it failed.
    """

    question: str
    depth: str
    state: str
    run: str | None
    earlier: bool
    at: str | None
    age: str
    model: str | None
    answer: str
    cut: bool
    reason: str


class NoteShape(TypedDict):
    """What a run decided, did and left open. `source`: where it is from and how old, in words; `parts`: by
    their names in the form of its report."""

    run: str
    agent: str
    repository: str
    at: str
    source: str
    commit: str | None
    landed: bool
    receipt: str | None
    task: str
    parts: dict[str, str]
