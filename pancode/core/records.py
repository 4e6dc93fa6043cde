"""The rows of the ledger: frozen values with their table, key and indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.order import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.core.rows import ApiToken as ApiToken
from pancode.core.rows import AuditAnchor as AuditAnchor
from pancode.core.rows import Delivery as Delivery
from pancode.core.rows import DeliveryState as DeliveryState
from pancode.core.rows import EndedRun as EndedRun
from pancode.core.rows import Firing as Firing
from pancode.core.rows import FiringState as FiringState
from pancode.core.rows import KeyedRequest as KeyedRequest
from pancode.core.rows import RunNote as RunNote
from pancode.core.rows import Schedule as Schedule
from pancode.core.rows import Webhook as Webhook
from pancode.core.rows import Workflow as Workflow
from pancode.core.rows import WorkflowStep as WorkflowStep
from pancode.core.states import ActionKind as ActionKind
from pancode.core.states import Closed as Closed
from pancode.core.states import EntryKind as EntryKind
from pancode.core.states import EventKind as EventKind
from pancode.core.states import FenceState as FenceState
from pancode.core.states import RunState as RunState
from pancode.core.states import WaitReason as WaitReason
from pancode.core.states import WorkflowKind as WorkflowKind
from pancode.core.states import WorkflowState as WorkflowState
from pancode.core.states import WorkflowStepState as WorkflowStepState
from pancode.core.terms import Approval as Approval
from pancode.core.terms import Record as Record
from pancode.core.terms import RunTerms as RunTerms
from pancode.core.terms import Table as Table


@dataclass(frozen=True, slots=True)
class Setting(Record):
    """One durable setting of the fleet (epoch, pauses, ceilings); `value` is plain JSON."""

    TABLE: ClassVar = Table("settings", ("name",))
    name: str
    value: object
    changed_ms: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class Node(Record):
    """A machine of the inventory."""

    TABLE: ClassVar = Table("nodes", ("name",), ("tag",))
    name: str
    added_ms: int
    target: dict[str, object]
    """Its SSH address: host, port, user, identities, pinned host key ..."""
    labels: dict[str, str]
    slots: int
    tag: str | None = None
    public_key: str | None = None
    draining: str | None = None
    """The reason of a drain, None when it takes work."""
    paused: str | None = None
    quarantined: str | None = None
    """The reason why it is shut out of Redis, None when it is not."""
    removed: str | None = None
    """None; `removed` or `removed, not cleaned`."""
    control_seq: int = 0
    epoch_seen: int = 0
    obeys: str | None = None
    """Id of the coordinator's key that what is said to it is signed with; None: the current one."""
    facts: dict[str, object] = field(default_factory=dict)
    least: int | None = None
    """Where it is strained it takes fewer at once than its slots, down to this; None: it never does."""


@dataclass(frozen=True, slots=True)
class Run(Record):
    """A resolved request of a user, and its progress."""

    TABLE: ClassVar = Table(
        "runs", ("id",), ("state,created_ms", "created_ms", "parent", "workflow", "session,place")
    )
    id: str
    created_ms: int
    created_by: str
    task: str
    argv: tuple[str, ...] | None
    agent: str
    prompt: str
    tools: tuple[str, ...]
    read_only: bool
    runtime: str
    model: str | None
    """The model's name for the runtime."""
    mode: Mode
    safety: Safety
    told_only: bool
    node: str | None
    """Pinned node's name."""
    require: dict[str, str]
    priority: int
    project: str | None
    """Absolute path of the user's repository; None for `--workspace none`."""
    workspace: dict[str, object]
    """Wire form of node_agent.wire.order.Workspace."""
    setup: tuple[tuple[str, ...], ...]
    cache: tuple[str, ...]
    gates: tuple[dict[str, object], ...]
    limits: dict[str, object]
    env: tuple[str, ...]
    secrets: tuple[str, ...]
    depth: int
    estimate_usd: Decimal
    on_lost: str
    """`ask` (default) or `retry`."""
    max_attempts: int | None
    """None: one, and one more for what went wrong on our side."""
    trace: str
    asked_model: str | None = None
    """The model's name as it was asked for, with node and provider."""
    reasoning: Reasoning | None = None
    estimate_tokens: int = 0
    estimate_ms: int = 0
    """Of its agent's time."""
    epoch: int = 0
    """In which it was admitted: what a later epoch signs for it is numbered apart."""
    state: RunState = RunState.PENDING
    reason: str = "queued"
    waits: WaitReason | None = WaitReason.QUEUED
    """None: nothing holds it up."""
    attempt: int = 1
    fence: int = 0
    """Highest fence so far; grows over all attempts."""
    stop_asked: str | None = None
    outcome: Outcome | None = None
    failure: FailureKind | None = None
    exit_code: int | None = None
    result: dict[str, object] = field(default_factory=dict)
    """Of the winning attempt: commit, files_changed, change, answer, usage, receipt digest, node ..."""
    started_ms: int | None = None
    finished_ms: int | None = None
    retry_at_ms: int | None = None
    retry_of: str | None = None
    parent: str | None = None
    """The run from inside which it was dispatched; None: a person did."""
    land: bool = False
    """Whether its change is to be landed by itself when it is done."""
    landing: dict[str, object] = field(default_factory=dict)
    """The result of that landing: status, why, files, tree, branch; empty before."""
    landed: str | None = None
    rules: dict[str, object] = field(default_factory=dict)
    """Wire form of node_agent.wire.policy.Rules: those of people's files at dispatch."""
    endpoint: str | None = None
    """The model server that its model is on, as nodes call it; None: the runtime's own vendor."""
    context: int | None = None
    """Tokens that its first call needs at least, as far as that can be told before; None: no endpoint."""
    terms: RunTerms = field(default_factory=RunTerms)
    """Further facts that only some runs have."""
    untested: bool = False
    """Its model needs no passport, as whoever dispatched it says."""
    workflow: str | None = None
    """The workflow that it belongs to; None: it was dispatched by itself."""
    step: str | None = None
    """The name of its step there."""
    session: str = ""
    """The first run of its chain, in which each one goes on from the one before: of sittings it is a
    session. Empty: it was not admitted as a run of its own."""
    place: int = 1
    """Its place in that chain."""

    @property
    def judges(self) -> str | None:
        """The run whose landing's gates this one runs; None: it does work of its own."""
        return self.terms.get("judges")

    @property
    def takes_turns(self) -> bool:
        """Whether its program waits for words after an answer."""
        return "turns" in self.terms

    @property
    def resumes(self) -> dict[str, str]:
        """The session with which its next attempt goes on: run, session. Its own one before the one with
        which it was begun; empty: none."""
        own = self.terms.get("own_session")
        return {"run": self.id, "session": own["session"]} if own else self.terms.get("resume", {})

    @property
    def resumes_on(self) -> str | None:
        """The node that keeps a session of its own."""
        return self.terms.get("own_session", {}).get("node")


@dataclass(frozen=True, slots=True)
class SessionRow(Record):
    """A chain of sittings that people talk with; what its newest one has is in that run."""

    TABLE: ClassVar = Table("sessions", ("id",), ("newest_ms",))
    id: str
    """Its first run."""
    run: str
    """Its newest sitting."""
    newest_ms: int
    """When that was admitted."""
    title: str
    mode: Mode
    """It begins its next sitting with this mode, level, model, effort, and mode of the program itself."""
    safety: Safety
    model: str | None
    """As it is asked for; None: what its agent has."""
    reasoning: Reasoning | None
    program_mode: str
    """By its program's own name; empty: its own."""
    on_cap: str
    """rest or ask, where its cap cuts a turn."""
    ceiling: Decimal | None = None
    """The most that it may cost, as a person has said; None: what the settings say."""
    chosen_by: str | None = None
    """The person who has chosen other terms than its newest sitting has; None: nobody has."""
    closed_by: str | None = None
    """The person who has ended it; the next words begin another sitting all the same."""
    news: tuple[str, ...] = ()
    """What has happened since the last words for it, such as a person's no, in words for its agent."""
    points: tuple[dict[str, object], ...] = ()
    """Its checkpoints, oldest first: name, run, by, at_ms."""
    restored: dict[str, object] = field(default_factory=dict)
    """Where a person went back to, until the next sitting begins: name, run, and the conversation `told`."""
    backs: dict[str, str] = field(default_factory=dict)
    """By the sitting behind which a person went back: the one at whose end the next begins."""


@dataclass(frozen=True, slots=True)
class Word(Record):
    """What one person has said at once to a run, in a session to its sitting of then."""

    TABLE: ClassVar = Table("words", ("run", "number"))
    run: str
    number: int
    """In its run, from 1 on; its node gives its agent each number once."""
    at_ms: int
    by: str
    text: str
    laid: str = ""
    """With which task, at a turn of which attempt, or in which later run an agent got it; empty: none has."""
    turn: int | None = None
    """The turn that ended with it."""
    for_next: bool = False
    """It was said behind a change of mode or level: it begins the next sitting, and no turn of this one."""


@dataclass(frozen=True, slots=True)
class Attempt(Record):
    """One try of a run."""

    TABLE: ClassVar = Table("attempts", ("run", "attempt"), ("run",))
    run: str
    attempt: int
    created_ms: int
    held_usd: Decimal
    outcome: Outcome | None = None
    failure: FailureKind | None = None
    reason: str = ""
    finished_ms: int | None = None
    usage: dict[str, object] = field(default_factory=dict)
    """Last signed usage: input_tokens, output_tokens, cost_usd, cost_source ..."""


@dataclass(frozen=True, slots=True)
class Fence(Record):
    """One binding of an attempt to a node: from the signed order until the node's own word closes it."""

    TABLE: ClassVar = Table("fences", ("run", "fence"), ("node", "state", "tag"))
    run: str
    attempt: int
    fence: int
    node: str
    tag: str
    order: str
    """The signed envelope, JSON, byte for byte as pushed."""
    digest: str
    start_by_epoch: int
    start_by_ms: int
    bound_ms: int
    state: FenceState = FenceState.OFFERED
    mark: str = ""
    cursor: int = 0
    """Highest applied event number."""
    stop_sent: bool = False
    """Whether its node was told to stop it."""
    closed: Closed | None = None
    closed_ms: int | None = None
    receipt: str | None = None
    ahead: bool = False
    """Whether it was handed over to wait there until a slot is free."""
    provider: str = ""
    """Whose model it asks, as the breakers name it: the limits of which its end tells are of that login."""


@dataclass(frozen=True, slots=True)
class BookEntry(Record):
    """A line in the books. Never changed, never deleted."""

    TABLE: ClassVar = Table("entries", ("id",), ("run", "scope,kind,source"))
    id: str
    at_ms: int
    scope: str
    """`day:2026-11-20`, `node:gpubox`, ..."""
    kind: EntryKind
    run: str
    attempt: int
    fence: int
    usd: Decimal
    tokens: int = 0
    agent_ms: int = 0
    source: str = ""
    note: str = ""
    held_tokens: int = 0
    """By how many more, or fewer, are held; in USD the kind says which."""
    held_ms: int = 0


@dataclass(frozen=True, slots=True)
class Balance(Record):
    """Running sums of one scope; always equal to the sum of its entries."""

    TABLE: ClassVar = Table("balances", ("scope",))
    scope: str
    spent_usd: Decimal = Decimal(0)
    held_usd: Decimal = Decimal(0)
    unknown_runs: int = 0
    tokens: int = 0
    agent_ms: int = 0
    runs: int = 0
    held_tokens: int = 0
    held_ms: int = 0
    disputed_usd: Decimal = Decimal(0)
    """What nodes have claimed beyond the limits of their orders; no ceiling counts it."""


@dataclass(frozen=True, slots=True)
class Decision(Record):
    """One thing decided about a run, in words: what `pancode why` prints."""

    TABLE: ClassVar = Table("decisions", ("run", "number"), ("run",))
    run: str
    number: int
    at_ms: int
    kind: str
    """gate, placement, wait, retry, stop, land, settle."""
    what: str
    verdict: str
    detail: str


@dataclass(frozen=True, slots=True)
class Audit(Record):
    """Something that happened, for the record. `number` grows."""

    TABLE: ClassVar = Table("audit", ("number",), ("domain", "level", "run"))
    number: int
    at_ms: int
    domain: str
    level: str
    what: str
    detail: dict[str, object]
    run: str | None = None
    previous: str = ""
    """Digest of the entry before; empty: it is the first."""


@dataclass(frozen=True, slots=True)
class FeedEvent(Record):
    """Something that happened, for whoever watches. `number` grows; only the newest are kept."""

    TABLE: ClassVar = Table("feed", ("number",))
    number: int
    at_ms: int
    kind: EventKind
    run: str | None
    node: str | None
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Action(Record):
    """A follow-on action of an ended run; kept until it is done. Not before `at_ms`."""

    TABLE: ClassVar = Table("actions", ("id",), ("run",))
    id: str
    kind: ActionKind
    run: str
    """The run, or the workflow, that it is about."""
    at_ms: int
    by: str
    detail: dict[str, object] = field(default_factory=dict, hash=False)
    """Of a landing: its repository, and the way as a person asked for it by hand."""


@dataclass(frozen=True, slots=True)
class StoredReceipt(Record):
    """An archived receipt, countersigned."""

    TABLE: ClassVar = Table("receipts", ("digest",), ("run", "tag"))
    digest: str
    run: str
    attempt: int
    fence: int
    tag: str
    envelope: str
    stored_ms: int
    orphan: bool = False
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class KnownKey(Record):
    """A public key that signs for this fleet, or did. Never deleted: old receipts need it."""

    TABLE: ClassVar = Table("keys", ("keyid", "name"), ("role",))
    keyid: str
    name: str
    """Of the node; of a coordinator's key, the fleet's."""
    role: str
    """`node` or `coordinator`."""
    public: str
    from_ms: int
    until_ms: int | None = None
    """The time when it was replaced or its node removed; None while it signs."""


@dataclass(frozen=True, slots=True)
class ControlMessage(Record):
    """A signed control message, kept until the node has said that it saw it."""

    TABLE: ClassVar = Table("controls", ("tag", "seq"), ("tag",))
    tag: str
    seq: int
    envelope: str
    issued_ms: int


ALL: tuple[type[Record], ...] = (
    Setting,
    Node,
    Run,
    SessionRow,
    Word,
    Workflow,
    WorkflowStep,
    Schedule,
    Firing,
    Webhook,
    Delivery,
    EndedRun,
    RunNote,
    AuditAnchor,
    Attempt,
    Fence,
    BookEntry,
    Balance,
    Decision,
    Audit,
    Action,
    FeedEvent,
    StoredReceipt,
    KnownKey,
    ControlMessage,
    ApiToken,
    KeyedRequest,
)
