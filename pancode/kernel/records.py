"""The rows of the ledger: frozen values with their table, key and indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.kernel.rows import EnvelopeText, Facet
from pancode.kernel.rows import Record as Record
from pancode.kernel.rows import Table as Table
from pancode.kernel.states import ActionKind as ActionKind
from pancode.kernel.states import Closed as Closed
from pancode.kernel.states import EntryKind as EntryKind
from pancode.kernel.states import EventKind as EventKind
from pancode.kernel.states import GpuRule as GpuRule
from pancode.kernel.states import LeaseState as LeaseState
from pancode.kernel.states import RunState as RunState
from pancode.kernel.states import WaitReason as WaitReason


@dataclass(frozen=True, slots=True)
class Setting(Record):
    """One durable value of the fleet (epoch, pauses, ceilings); `value` is plain JSON."""

    TABLE: ClassVar = Table("settings", ("name",))
    name: str
    value: object
    changed_ms: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class Node(Record):
    """A node in the inventory of the fleet."""

    TABLE: ClassVar = Table("nodes", ("name",), ("tag",))
    name: str
    added_ms: int
    target: dict[str, object]
    """The node's SSH address: host, port, user, identities, pinned host key ..."""
    labels: dict[str, str]
    slots: int
    tag: str | None = None
    public_key: str | None = None
    draining: str | None = None
    """The reason of a drain; None: the node is not drained."""
    paused: str | None = None
    quarantined: str | None = None
    """The reason why the node is shut out of Redis; None: it is not."""
    removed: str | None = None
    """`removed` or `removed, not cleaned`; None: the node is in the fleet."""
    control_seq: int = 0
    epoch_seen: int = 0
    obeys: str | None = None
    """Id of the coordinator's key that signs messages to the node; None: the current key."""
    facts: dict[str, object] = field(default_factory=dict)
    least: int | None = None
    """The fewest runs at once that the node takes under load; None: as many as its slots."""
    gpus: GpuRule = GpuRule.ALL
    """Which runs get the node's GPUs."""


@dataclass(frozen=True, slots=True)
class Judging(Facet):
    """The terms of a run that judges the result of another run by running the gates on it."""

    judges: str | None = None
    """The run whose merged tree the gates of this run check."""
    unchanged: bool = False
    """Whether it runs the gates on that run's base tree, without its change."""


@dataclass(frozen=True, slots=True)
class TurnTaking(Facet):
    """The terms of an interactive run, whose program waits for a message after each answer."""

    turns: Mapping[str, Any] = field(default_factory=dict)
    """`idle_ms`, `turn_ms`, `mode` and `by`, as TurnTerms; empty: the run takes no turns."""


@dataclass(frozen=True, slots=True)
class OwnSession:
    """The session of an earlier attempt, and the node that stores it."""

    session: str
    node: str


@dataclass(frozen=True, slots=True)
class LeftWork:
    """The commit, changed files and findings that an attempt left when its provider refused it."""

    after: int
    """The number of the attempt that left this work."""
    commit: str
    files: tuple[str, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NextAttempt(Facet):
    """Additional input of a run's next attempt, besides its task and snapshot."""

    resume: Mapping[str, str] = field(default_factory=dict)
    """The session with which the run began, under the keys `run` and `session`."""
    own_session: OwnSession | None = None
    """The session of an earlier attempt, which the next attempt resumes."""
    preface: str = ""
    """The text before the task in the run's next attempts."""
    went_on: tuple[LeftWork, ...] = ()
    """The work of attempts that their provider refused, oldest first. Later attempts continue from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """A user's request with all settings resolved, and the progress of its work."""

    TABLE: ClassVar = Table(
        "runs", ("id",), ("state,created_ms", "created_ms", "parent", "workflow", "session,place")
    )
    # Who requested the run, and the run's predecessors.
    id: str
    created_ms: int
    created_by: str
    parent: str | None = None
    """The run from which this one was dispatched; None: a user dispatched it."""
    depth: int
    priority: int
    trace: str
    retry_of: str | None = None
    workflow: str | None = None
    """The workflow to which the run belongs; None: the run belongs to no workflow."""
    step: str | None = None
    """The name of the run's step in its workflow."""
    session: str = ""
    """The first run of the chain in which each run continues from the previous one; a chain of interactive
    runs is a session. Empty: the run was not admitted separately."""
    place: int = 1
    """The run's place in that chain, counted from 1."""
    terms: dict[str, object] = field(default_factory=dict)
    """Facts that only some runs have, as plain JSON; only the class `Facet` reads this column."""

    # The task of the run's agent.
    task: str
    argv: tuple[str, ...] | None
    agent: str
    prompt: str
    tools: tuple[str, ...]
    read_only: bool
    mode: Mode
    safety: Safety
    told_only: bool
    rules: dict[str, object] = field(default_factory=dict)
    """Wire form of node_agent.wire.policy.Rules: the rules of users' files at dispatch."""
    gates: tuple[dict[str, object], ...]
    land: bool = False
    """Whether the run's change lands automatically when the run is done."""

    # Where the run works.
    node: str | None
    """The name of the node that the run is pinned to."""
    require: dict[str, str]
    project: str | None
    """Absolute path of the user's repository; None for `--workspace none`."""
    workspace: dict[str, object]
    """The run's workspace, in the wire form of node_agent.wire.job.Workspace."""
    gpus: str | None = None
    """How many GPUs the run reserves while it works; `all`: all of its node; None: it requests none."""
    gpu_memory: int | None = None
    """The minimum memory, in bytes, of each reserved GPU."""

    # The run's model, program and environment.
    runtime: str
    model: str | None
    """The model's name as the runtime uses it."""
    asked_model: str | None = None
    """The model's name as requested, with node and provider."""
    reasoning: Reasoning | None = None
    endpoint: str | None = None
    """The model server of the run's model, as nodes call it; None: the vendor of the runtime."""
    context: int | None = None
    """The least tokens of the run's first call, as far as known in advance; None: no endpoint."""
    untested: bool = False
    """Whether the run's model needs no passport because the dispatching user chose that."""
    setup: tuple[tuple[str, ...], ...]
    cache: tuple[str, ...]
    env: tuple[str, ...]
    secrets: tuple[str, ...]

    # The run's limits and estimates.
    limits: dict[str, object]
    max_attempts: int | None
    """The most attempts; None: one, and one more after a failure of PanCode's own."""
    on_lost: str
    """What happens if the run is lost: `ask` (default) or `retry`."""
    estimate_usd: Decimal
    estimate_tokens: int = 0
    estimate_ms: int = 0
    """Estimated milliseconds of the agent's time."""

    # The run's progress.
    epoch: int = 0
    """The epoch in which the run was admitted."""
    state: RunState = RunState.PENDING
    reason: str = "queued"
    waits: WaitReason | None = WaitReason.QUEUED
    """Why the run waits; None: it does not wait."""
    attempt: int = 1
    lease: int = 0
    """The run's highest lease so far; it grows over all attempts."""
    stop_asked: str | None = None
    started_ms: int | None = None
    retry_at_ms: int | None = None

    # How the run ended.
    finished_ms: int | None = None
    outcome: Outcome | None = None
    failure: FailureKind | None = None
    exit_code: int | None = None
    result: dict[str, object] = field(default_factory=dict)
    """The winning attempt's result: commit, files_changed, change, answer, usage, receipt digest, node ..."""
    landing: dict[str, object] = field(default_factory=dict)
    """How the landing ended: status, why, files, tree, branch; empty before."""
    landed: str | None = None

    @property
    def holds_gpus(self) -> bool:
        """Whether the run reserves a GPU while it works."""
        return self.gpus != "0" and (self.gpus is not None or self.gpu_memory is not None)

    @property
    def judges(self) -> str | None:
        """Return the run whose change this run checks with gates before it lands; None if there is none."""
        return Judging.of(self).judges

    @property
    def takes_turns(self) -> bool:
        """Whether the run is an interactive run, whose program waits for a message after an answer."""
        return bool(TurnTaking.of(self).turns)

    @property
    def resumes(self) -> Mapping[str, str]:
        """Return the session that the next attempt resumes (keys: run, session); empty: none. A session of
        the run itself has precedence over the session with which the run began."""
        facet = NextAttempt.of(self)
        own = facet.own_session
        return facet.resume if own is None else {"run": self.id, "session": own.session}

    @property
    def resumes_on(self) -> str | None:
        """Return the node that stores a session of the run itself, or None."""
        own = NextAttempt.of(self).own_session
        return None if own is None else own.node


@dataclass(frozen=True, slots=True)
class SessionRow(Record):
    """A chain of interactive runs that users talk with. Facts about the newest interactive run are in the row
    of that run."""

    TABLE: ClassVar = Table("sessions", ("id",), ("newest_ms",))
    id: str
    """The id of the session's first run."""
    run: str
    """The id of the session's newest interactive run."""
    newest_ms: int
    """When the newest interactive run was admitted."""
    title: str
    mode: Mode
    """Mode, level, model, effort and program mode for the next interactive run."""
    safety: Safety
    model: str | None
    """The model as requested; None: the agent's own model."""
    reasoning: Reasoning | None
    program_mode: str
    """The program's own name of its mode; empty: the program's default."""
    on_cap: str
    """What happens when a cap ends a turn: `rest` (suspend the session) or `ask` (the user)."""
    ceiling: Decimal | None = None
    """The most USD that the session may cost, set by a user; None: the ceiling from the settings."""
    chosen_by: str | None = None
    """The user who chose other terms than those of the newest interactive run; None: no user did."""
    closed_by: str | None = None
    """The user who has ended the session; a later message still begins another interactive run."""
    news: tuple[str, ...] = ()
    """News since the session's last message, such as a user's refusal, as text for its agent."""
    points: tuple[dict[str, object], ...] = ()
    """The session's checkpoints, oldest first, with the keys name, run, by and at_ms."""
    restored: dict[str, object] = field(default_factory=dict)
    """The checkpoint to which a user went back, until the next interactive run begins: name, run, and the
    conversation `told`."""
    backs: dict[str, str] = field(default_factory=dict)
    """Where users went back, by the interactive run after which they did: the run from whose end the next run
    begins."""


@dataclass(frozen=True, slots=True)
class StoredMessage(Record):
    """One message of a user to a run; in a session, to the interactive run that was the newest then."""

    TABLE: ClassVar = Table("words", ("run", "number"))
    run: str
    number: int
    """The number of the message in its run, from 1; the node passes each number to its agent only once."""
    at_ms: int
    by: str
    text: str
    laid: str = ""
    """How an agent got the message: with which task, at a turn of which attempt, in which later run; empty:
    not yet."""
    turn: int | None = None
    """The number of the turn that answered the message."""
    for_next: bool = False
    """Whether the message begins the next interactive run, because it followed a change of mode or level."""


@dataclass(frozen=True, slots=True)
class Attempt(Record):
    """One attempt to carry out a run."""

    TABLE: ClassVar = Table("attempts", ("run", "attempt"), ("run",))
    run: str
    attempt: int
    created_ms: int
    reserved_usd: Decimal
    outcome: Outcome | None = None
    failure: FailureKind | None = None
    reason: str = ""
    finished_ms: int | None = None
    usage: dict[str, object] = field(default_factory=dict)
    """The last usage that the node signed: input_tokens, output_tokens, cost_usd, cost_source ..."""


@dataclass(frozen=True, slots=True)
class Lease(Record):
    """One binding of an attempt to a node, from the signed job until the node's signed end closes it."""

    TABLE: ClassVar = Table("fences", ("run", "lease"), ("node,state", "state", "tag,state"))
    run: str
    attempt: int
    lease: int
    node: str
    tag: str
    job: EnvelopeText
    """The signed envelope of the job: JSON, with exactly the bytes that were sent."""
    digest: str
    start_by_epoch: int
    start_by_ms: int
    bound_ms: int
    state: LeaseState = LeaseState.OFFERED
    mark: str = ""
    cursor: int = 0
    """The number of the newest event of the lease that was applied."""
    stop_sent: bool = False
    """Whether a stop was sent to the node."""
    closed: Closed | None = None
    closed_ms: int | None = None
    receipt: str | None = None
    ahead: bool = False
    """Whether the job was sent ahead, to wait on the node until a slot is free."""
    provider: str = ""
    """The provider of the run's model, by its circuit breaker's name; rate limits at the lease's end count
    for this provider's login."""


@dataclass(frozen=True, slots=True)
class GpuHold(Record):
    """The GPUs that a run has exclusively, from the signed job until its lease is closed."""

    TABLE: ClassVar = Table("gpu_holds", ("run", "lease"))
    run: str
    lease: int
    node: str
    uuids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BookEntry(Record):
    """An entry in the books. It is never changed or deleted."""

    TABLE: ClassVar = Table("entries", ("id",), ("run", "scope,kind,source"))
    id: str
    at_ms: int
    scope: str
    """The budget scope, such as `day:2026-11-20` or `node:gpubox`."""
    kind: EntryKind
    run: str
    attempt: int
    lease: int
    usd: Decimal
    tokens: int = 0
    agent_ms: int = 0
    source: str = ""
    note: str = ""
    reserved_tokens: int = 0
    """How many more tokens are reserved (negative: fewer). Reserved USD follow from the entry's `kind`."""
    reserved_ms: int = 0


@dataclass(frozen=True, slots=True)
class Balance(Record):
    """The running sums of one budget scope; they always equal the sums of its entries."""

    TABLE: ClassVar = Table("balances", ("scope",))
    scope: str
    spent_usd: Decimal = Decimal(0)
    reserved_usd: Decimal = Decimal(0)
    unknown_runs: int = 0
    tokens: int = 0
    agent_ms: int = 0
    runs: int = 0
    reserved_tokens: int = 0
    reserved_ms: int = 0
    disputed_usd: Decimal = Decimal(0)
    """The USD that nodes have claimed beyond the limits of their jobs; they count towards no ceiling."""


@dataclass(frozen=True, slots=True)
class Decision(Record):
    """One decision about a run, as text for `pancode why`."""

    TABLE: ClassVar = Table("decisions", ("run", "number"), ("run",))
    run: str
    number: int
    at_ms: int
    kind: str
    """The kind of decision: gate, placement, wait, retry, stop, land or settle."""
    what: str
    verdict: str
    detail: str


@dataclass(frozen=True, slots=True)
class Audit(Record):
    """An entry of the audit log. `number` increases."""

    TABLE: ClassVar = Table("audit", ("number",), ("domain", "level", "run"))
    number: int
    at_ms: int
    domain: str
    level: str
    what: str
    detail: dict[str, object]
    run: str | None = None
    previous: str = ""
    """Digest of the previous entry; empty for the first entry."""


@dataclass(frozen=True, slots=True)
class FeedEvent(Record):
    """An event of the coordinator's event feed. `number` increases; only the newest events are stored."""

    TABLE: ClassVar = Table("feed", ("number",))
    number: int
    at_ms: int
    kind: EventKind
    run: str | None
    node: str | None
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Action(Record):
    """An action that a run's progress requires; stored until it is done, and not begun before `at_ms`."""

    TABLE: ClassVar = Table("actions", ("id",), ("run",))
    id: str
    kind: ActionKind
    run: str
    """The id of the run or the workflow that the action is about."""
    at_ms: int
    by: str
    detail: dict[str, object] = field(default_factory=dict, hash=False)
    """Facts for the action; for a landing: its repository, and the options of a user who requested it."""


@dataclass(frozen=True, slots=True)
class StoredReceipt(Record):
    """A countersigned receipt that was archived."""

    TABLE: ClassVar = Table("receipts", ("digest",), ("run", "tag"))
    digest: str
    run: str
    attempt: int
    lease: int
    tag: str
    envelope: EnvelopeText
    stored_ms: int
    orphan: bool = False
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class KnownKey(Record):
    """A public key that signs or has signed for this fleet. Never deleted, because old receipts need it."""

    TABLE: ClassVar = Table("keys", ("keyid", "name"), ("role",))
    keyid: str
    name: str
    """The node's name; for a coordinator's key, the fleet's name."""
    role: str
    """The key's owner: `node` or `coordinator`."""
    public: str
    from_ms: int
    until_ms: int | None = None
    """When the key was replaced or its node removed; None while it is in use."""


@dataclass(frozen=True, slots=True)
class ControlMessage(Record):
    """A signed control message, stored until the node has acknowledged it."""

    TABLE: ClassVar = Table("controls", ("tag", "seq"), ("tag",))
    tag: str
    seq: int
    envelope: str
    issued_ms: int


@dataclass(frozen=True, slots=True)
class ApiToken(Record):
    """An API token. Its secret is shown once and never stored."""

    TABLE: ClassVar = Table("tokens", ("name",), ("digest",))
    name: str
    digest: str
    """SHA-256 of the secret, hexadecimal."""
    scopes: tuple[str, ...]
    created_ms: int
    created_by: str
    expires_ms: int | None = None
    """When the token expires; None: never."""
    item: str | None = None
    """The only inbox item that the token may answer, and `run` that item's run; None: any item."""
    run: str | None = None
    used_ms: int | None = None
    """When the token was last used, to the minute; None: never."""
    agent: str | None = None
    """The User-Agent of the browser that got the token for a code, and `address` where it connected from."""
    address: str | None = None
    confirmed_ms: int | None = None
    """When that browser last opened a one-time link; None: it never had a session."""


@dataclass(frozen=True, slots=True)
class AuditAnchor(Record):
    """A signed digest of an audit entry. The fleet's key signs it, so that a rewritten chain is noticed."""

    TABLE: ClassVar = Table("anchors", ("number",))
    number: int
    """The number of the audit entry."""
    envelope: str
    """Signed JSON: fleet, entry, head, time."""


@dataclass(frozen=True, slots=True)
class EndedRun(Record):
    """The row of an ended run for costs, track records, workers and briefs. It is written together with the
    run."""

    TABLE: ClassVar = Table(
        "ended_runs",
        ("run",),
        ("ended_ms", "last_ms", "left,repository,ended_ms", "repository,ended_ms", "retry_of"),
    )
    run: str
    ended_ms: int
    agent: str
    model: str | None
    runtime: str
    kind: str
    """The kind of the run's task."""
    repository: str | None
    node: str | None
    outcome: Outcome
    started: bool
    counts: bool
    """Whether the run is evidence about its agent: receipt accepted, and nothing but the agent at fault."""
    judges: bool
    """Whether the run only ran the gates on another run's result."""
    landed: bool
    reverted: bool
    left: bool
    """Whether the run needs a user's attention, according to its own row."""
    retry_of: str | None
    ms: int
    """Milliseconds between the run's first start and its end."""
    usd: Decimal
    """USD booked for all attempts of the run; `tokens` and `agent_ms` also cover all attempts."""
    tokens: int
    agent_ms: int
    unknown: bool
    """Whether the cost of an attempt is unknown."""
    first_ms: int | None
    """When the first cost was booked for the run, and `last_ms` the last; None: the run cost nothing."""
    last_ms: int | None
    size: str = ""
    """The size of the run's task; empty: unknown."""


TABLES: tuple[type[Record], ...] = (
    Setting,
    Node,
    Run,
    SessionRow,
    StoredMessage,
    EndedRun,
    AuditAnchor,
    Attempt,
    Lease,
    GpuHold,
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
)
