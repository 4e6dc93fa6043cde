"""JSON shapes of a run: its state, usage and verification. Clients rely on them, so keys are only added."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NotRequired
from urllib.parse import quote

from typing_extensions import TypedDict

from pancode.kernel.route import Route

Json = dict[str, Any]


class VerificationShape(TypedDict):
    """How far a result is tested. `state`: partly (its gates passed) or unverified (no gates). In a run of an
    older version also verified or disputed, by another node."""

    state: str
    why: str


class LandingShape(TypedDict, total=False):
    """The result of the landing: `waiting`, `landed`, `nothing to land`, `conflict`, `gate failed` ...
    `recovered`: an earlier, interrupted landing was completed first. `how`: how its commits are arranged."""

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
    conflicts: list[Json]
    recovered: str | None
    error: str
    how: str
    tracker: str
    was: Json
    """What was known of the landing before the change was dropped."""


class LandAnswer(LandingShape):
    """How a landing ended, or its place in the queue. `tracker`: what the run's issue now shows."""

    run: str
    place: NotRequired[int]


class CalledOffRow(LandingShape):
    """How a canceled landing ended. `queued`: the landing had not begun."""

    queued: NotRequired[bool]


class TrackerAnswer(TypedDict):
    """What the tracker shows of the issue whose change has landed; empty: there is no issue."""

    tracker: str


class CalledOffAnswer(TypedDict):
    run: str
    landings: list[CalledOffRow]


class UsageShape(TypedDict):
    """The usage of a run. `cost_usd`: a decimal string, None while unknown. `disputed_usd`: what the node
    reports above the job's limit; not included in `cost_usd`."""

    input_tokens: int
    output_tokens: int
    cost_usd: str | None
    cost_source: str
    disputed_usd: str | None


class CallsShape(TypedDict):
    """Model calls through the node's gateway. `unread`: answers that did not report all their tokens."""

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
    """A run as `runs`, `runs show` and `dispatch --wait` show it. Times are ISO 8601 UTC.

    `status`: the one status that every interface shows. `stage`: how far the run is. `waits`: what the run
    waits for, as a code; null: nothing. `reason`: the same as text.
    """

    run: str
    status: str
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
    """The run whose result this one continues."""
    continued_by: list[str]
    parent: str | None
    judges: str | None
    """The run whose gates or result this one checks; such runs are listed only with `checks`."""
    landed: str | None
    landing: LandingShape | None
    verification: VerificationShape | None
    """How far the run's result is verified; null: it has none."""
    workflow: str | None
    """The workflow to which the run belongs, and `step`, its step there; null: none."""
    step: str | None


class GateResultShape(TypedDict):
    """How a gate of a run ended, as recorded in the receipt."""

    name: str
    argv: list[str]
    passed: bool
    exit_code: int | None
    signal: int | None
    duration_ms: int
    judged: bool
    changed: list[str]
    already_fails: NotRequired[bool]
    """True: the gate also fails on the unchanged tree."""


class AttemptShape(TypedDict):
    """One attempt of a run, with its usage."""

    attempt: int
    outcome: str | None
    failure: str | None
    reason: str
    held_usd: str
    usage: UsageShape
    agent_ms: int | None
    created_at: str
    finished_at: str | None


class LeaseShape(TypedDict):
    """The lease of an attempt on a node. `stop`: `asked` if a stop is requested but not confirmed."""

    attempt: int
    fence: int
    node: str
    state: str
    mark: str | None
    closed: str | None
    receipt: str | None
    stop: str | None
    bound_at: str
    closed_at: str | None


class ToldShape(TypedDict):
    """A user's message to a run. `delivered`: how; empty: not yet. `for_next`: kept for the next run."""

    by: str
    at_ms: int
    at: str | None
    text: str
    delivered: str
    for_next: NotRequired[bool]
    turn: NotRequired[int]


class RunWaits(TypedDict):
    """The user action for which a run waits: its kind, the command that answers, and the choices."""

    kind: str
    command: str
    choices: list[str]


class RunDetail(RunShape):
    """The full details of a run, as `runs show` shows them."""

    argv: list[str] | None
    mode: str
    reasoning: str | None
    safety: str
    isolation: str | None
    priority: int
    gpus: str | None
    """How many GPUs the run requests, or `all`; null: none."""
    gpu_memory: int | None
    """The least memory of each GPU, in bytes."""
    project: str | None
    workspace: Json
    folder: str | None
    in_workspace: str | None
    """The name of the workspace with which the run was dispatched."""
    setup: list[list[str]]
    cache: list[str]
    verify: list[str]
    gates: list[GateResultShape]
    checks: list[RunShape]
    """The runs that check its gates on the unchanged or merged tree, or its result on another node."""
    reports: list[Json]
    """The report files of the run's gates, as recorded in the receipt."""
    skills: list[str]
    """The names of the run's skills; the receipt has their digests."""
    limits: Json
    estimate_usd: str
    created_by: str
    answer: str
    findings: list[str]
    calls: CallsShape | None
    actions: dict[str, int]
    """How many calls the agent made, by the policy's class of action, as recorded in the receipt."""
    claimed: UsageShape | None
    attempts: list[AttemptShape]
    fences: list[LeaseShape]
    chain: list[str]
    """The runs that this run continues, newest first."""
    told: list[ToldShape]
    """Users' messages: by, at, text, and how each was delivered: `with its task` or a run; empty: not yet."""
    answered: str
    """Who answered the question from which the run continues; empty: the run continues from no question."""
    session: str
    """`same`: the run continues the conversation of the previous run; else `new`."""
    model_from: str | None
    """Who chose the run's model, as text."""
    inbox: RunWaits | None
    """What the run waits for from a user: its kind, the command that answers, the choices."""
    served: Json | None
    """The run's model server at placement: node, endpoint, model, context, slots and test."""


class HandedRun(TypedDict):
    """A run that waits on a node for a free slot. `there`: the node has confirmed that it has the job."""

    run: str
    node: str
    why: str
    there: bool


class StayingRun(TypedDict):
    """A run that cannot begin without its coordinator, and the reason."""

    run: str
    why: str
    task: str


class LaterSteps(TypedDict):
    """How many steps or lane items of a workflow begin once the coordinator is back. `name`: its name."""

    workflow: str
    name: str
    steps: int


class HandoverShape(TypedDict):
    """What continues without the coordinator, and what does not. `at_work`: number of active runs."""

    at_work: int
    handed: list[HandedRun]
    stays: list[StayingRun]
    later: list[LaterSteps]


class RunsAnswer(TypedDict):
    runs: list[RunShape]
    next: str | None
    """The cursor of the next page; None on the last page."""


class SnapshotShape(TypedDict):
    """A snapshot that is being taken. `of`: the number of files; 0 until they are counted."""

    run: str
    project: str
    done: int
    of: int


class SnapshotsAnswer(TypedDict):
    snapshots: list[SnapshotShape]


class StreamsAnswer(TypedDict):
    """The names of a run's output streams, by attempt."""

    streams: dict[str, list[str]]


class TailsAnswer(TypedDict):
    """The end of the output of each active run."""

    tails: dict[str, str]


class PausedAnswer(TypedDict):
    queue: str | None
    paused: str | None


class RecoveredShape(TypedDict):
    run: str
    outcome: str
    how: str
    next: str | None
    error: str | None


class RecoveredAnswer(TypedDict):
    runs: list[RecoveredShape]


class CheckShape(TypedDict):
    what: str
    ok: bool
    detail: str


class VerdictShape(TypedDict):
    """The verdict on a receipt: PASS, TAMPERED, UNSIGNED, UNKNOWN_KEY or NOT_FOUND, with each check. For the
    chain of a node, `run` is the node's name, and the verdict PASS, BROKEN or NOT_FOUND."""

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


class ReceiptsAnswer(TypedDict):
    receipts: list[ReceiptRow]
    next: str | None
    """The cursor of the next page; None on the last page."""


class ReceiptDetail(ReceiptRow):
    """A receipt with its decoded statement, and the signed envelope."""

    statement: Json | None
    envelope: Json


KeyTimes = TypedDict("KeyTimes", {"from": str | None, "until": str | None})
"""When a key was in use, by the coordinator's clock; `until` null: it still is."""


class KeyShape(KeyTimes):
    """A key that signs for the fleet."""

    role: str
    name: str
    keyid: str
    public: str
    pem: str


class UsedKey(KeyShape):
    """A key in use. `nodes`: those for which the coordinator's key is used."""

    nodes: list[str]


class KeysAnswer(TypedDict):
    keys: list[UsedKey]


class ExportAnswer(TypedDict):
    """All keys, including old ones, and the signed envelope of a run if one was named."""

    format: str
    fleet: str
    receipt: Json | None
    keys: list[KeyShape]


class BreakerShape(TypedDict):
    name: str
    state: str
    failures: int
    until_ms: int | None
    why: str


class HealthRow(TypedDict):
    """The health of a working agent (`run`) or of a node. `gravity`: well, warning, or user (a user should
    act).

    `since`: the newest sign of work; `until`: the end of a rate limit; `command`: the command to run.
    """

    who: str
    run: str | None
    node: str | None
    state: str
    gravity: str
    since: str | None
    until: str | None
    why: str
    command: str


class HealthShape(TypedDict):
    """The health of the fleet. `well`: nothing in the fleet needs a user."""

    well: bool
    agents: list[HealthRow]
    machines: list[HealthRow]


class JobShape(TypedDict):
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
    orders: list[JobShape]


class QueuesShape(TypedDict):
    """The queues and their jobs. `paused`: why all queues of the fleet are paused; null: they are not."""

    paused: str | None
    queues: list[QueueShape]


class Queued(TypedDict):
    """The answer to an asynchronous dispatch; `chosen`: why this agent was chosen, empty if it was named."""

    run: str
    state: str
    reason: str
    agent: str
    chosen: str


WOULD_WAIT = "it would wait: "
"""The prefix of the warning that no node can begin the run now."""


class QueuedAnswer(Queued):
    warnings: list[str]
    workflow: NotRequired[str]
    """The workflow that continues with this run, which replaces one of the workflow's runs."""
    answer: NotRequired[str]
    """The answer to the question."""


class GateShape(TypedDict):
    """The verdict of one of the ten admission gates."""

    gate: str
    passed: bool
    warning: bool
    words: str
    fix: str


class NodeFitShape(TypedDict):
    """Whether a node can take a run; if not, the reason."""

    node: str
    fits: bool
    ready: bool
    why: str
    fix: str
    isolation: str | None


class PreviewShape(TypedDict):
    """The files of a repository that would be sent."""

    branch: str | None
    head: str | None
    changed: list[str]
    untracked: list[str]
    warnings: list[str]


class DryRunReport(TypedDict):
    """The verdicts of the gates, and the run that would be queued.

    `asks`: why a user must approve the run first. `untested`: models to be tested before it begins, at a cost
    if `costly_test`. `notes_of`: runs whose notes it gets. `network`: what each phase may reach.
    """

    dry_run: bool
    admitted: bool
    asks: str | None
    gates: list[GateShape]
    untested: list[str]
    costly_test: bool
    notes: list[str]
    agent: str
    chosen: str
    runtime: str
    model: str | None
    reasoning: str | None
    mode: str
    safety: str
    workspace: str
    project: str | None
    folder: str
    setup: list[list[str]]
    cache: list[str]
    verify: list[list[str]]
    limits: Json
    tokens: dict[str, int]
    left_out: list[str]
    notes_of: list[str]
    nodes: list[NodeFitShape]
    network: dict[str, str]
    env: list[str]
    secrets: list[str]
    estimate_usd: str
    estimate_tokens: int
    estimate_minutes: float


class DryRunAnswer(DryRunReport):
    """The answer of `--dry-run`. `snapshot` null: no files would be sent."""

    snapshot: PreviewShape | None


class BriefLine(TypedDict):
    """One item of a brief, with the command for its next step."""

    run: str | None
    what: str
    task: str
    command: str
    outcome: NotRequired[str]
    """The outcome of a run that has ended."""


class InboxShape(TypedDict):
    """One item that waits for a user; `kind` as in `ItemKind`; `command` answers it.

    `yes`: the flags that its approval must include. `plan`: for a run that has not begun, what it will do,
    the estimate, the `objections` of gates that an approval lifts, and the `digest` to state in it. `call`:
    the number of the waiting call. `whole`: what an approval for the rest of the run allows, if possible.
    `title`: the first line of the run's task.
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
    title: str
    plan: dict[str, Any] | None


class InboxAnswer(TypedDict):
    """The questions and approvals that wait for a user; `GET /v1/now` lists everything that does."""

    items: list[InboxShape]


class NeedGroup(StrEnum):
    """The groups of needs, in the order in which every interface shows them."""

    ASKS = "asks"
    FAILED = "failed"
    TO_LAND = "to_land"
    PULLS = "pulls"
    NODES = "nodes"


@dataclass(frozen=True, slots=True)
class NeedAct:
    """One thing that a user can do about a need. `key`: the key in every interface. `asks`: what to ask
    before the act; with `takes_text`, what to ask for, which the request gets as `text`. `path` and `body`:
    the request. `is_undoable`: `POST /v1/needs/{need}/undo` takes the act back."""

    name: str
    key: str
    label: str
    asks: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    takes_text: bool = False
    is_undoable: bool = False

    @classmethod
    def done(cls, need: str) -> "NeedAct":
        """Return the act that dismisses this need without deciding anything else."""
        path = f"/v1/needs/{quote(need, safe='')}/done"
        return cls("done", "e", "Done with it", "", path, is_undoable=True)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs a user, until a user decides on it or dismisses it.

    `state`: that of the need, not of its run. `title`: the first line of the task. `headline`: the line that
    decides: the question, the first error line, or the size of the change and whether its gates passed.
    `words`: the whole question, or the whole reason. `approves`: everything that an approval covers. `usd`:
    what its run has cost; null: unknown, or no run. `project`: the repository of its run. `item`: the inbox
    item to answer; null: it asks nothing. `agent_minutes`: how long its agents have worked.
    """

    id: str
    group: NeedGroup
    state: str
    title: str
    headline: str
    command: str
    since: str | None = None
    run: str | None = None
    workflow: str | None = None
    node: str | None = None
    project: str | None = None
    usd: str | None = None
    agent_minutes: float | None = None
    words: str = ""
    approves: str = ""
    acts: tuple[NeedAct, ...] = ()
    item: InboxShape | None = None


RUNS = Route[RunsAnswer]("GET /v1/runs")
DISPATCH = Route[QueuedAnswer | DryRunAnswer]("POST /v1/runs")
QUEUE, DRY_RUN = Route[QueuedAnswer](DISPATCH), Route[DryRunAnswer](DISPATCH)
"""The route returns the first type, or the second if the body has `dry_run`."""
SNAPSHOTS = Route[SnapshotsAnswer]("GET /v1/snapshots")
TAILS = Route[TailsAnswer]("GET /v1/tails")
RUN = Route[RunDetail]("GET /v1/runs/{run}")
WORK_RUN = Route[RunShape]("GET /v1/work/{issue}")
"""The run that works on an issue; the issues feature serves this route."""
BRIEF = Route[RunShape]("GET /v1/runs/{run}/brief")
STREAMS = Route[StreamsAnswer]("GET /v1/runs/{run}/streams")
STOP = Route[RunShape]("POST /v1/runs/{run}/stop")
RETRY = Route[QueuedAnswer]("POST /v1/runs/{run}/retry")
CONTINUE = Route[QueuedAnswer]("POST /v1/runs/{run}/continue")
LAND = Route[LandAnswer]("POST /v1/runs/{run}/land")
CALL_OFF = Route[CalledOffAnswer]("POST /v1/runs/{run}/land/cancel")
TRACKER = Route[TrackerAnswer]("GET /v1/runs/{run}/land/tracker")
"""The landing feature serves these three."""
VERIFY = Route[VerdictShape]("GET /v1/runs/{run}/verify")
CHAIN = Route[VerdictShape]("GET /v1/chains/{node}")
RECEIPTS = Route[ReceiptsAnswer]("GET /v1/receipts")
RECEIPT = Route[ReceiptDetail]("GET /v1/receipts/{run}")
EXPORT = Route[ExportAnswer]("GET /v1/export")
KEYS = Route[KeysAnswer]("GET /v1/keys")
ROTATE = Route[KeysAnswer]("POST /v1/keys/rotate")
QUEUES = Route[QueuesShape]("GET /v1/queues")
PAUSE = Route[PausedAnswer]("POST /v1/queues/pause")
RESUME = Route[PausedAnswer]("POST /v1/queues/resume")
TAKE_OUT = Route[RunShape]("POST /v1/queues/runs/{run}/remove")
INBOX = Route[InboxAnswer]("GET /v1/inbox")
HEALTH = Route[HealthShape]("GET /v1/health")
RECOVER = Route[RecoveredAnswer]("POST /v1/recover")
