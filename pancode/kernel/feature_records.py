"""Ledger rows other than runs and nodes: workflows, schedules, requests, tokens, ended runs and others."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from node_agent.wire.failure import Outcome
from pancode.kernel.rows import Record, Table
from pancode.kernel.states import WorkflowKind, WorkflowState, WorkflowStepState


@dataclass(frozen=True, slots=True)
class AuditAnchor(Record):
    """A signed digest of an audit entry. The fleet's key signs it, so that a rewritten chain is noticed."""

    TABLE: ClassVar = Table("anchors", ("number",))
    number: int
    """The number of the audit entry."""
    envelope: str
    """Signed JSON: fleet, entry, head, time."""


@dataclass(frozen=True, slots=True)
class KeptWorkspace(Record):
    """The facts of a workspace that its runs do not record.

    `first`: its first run, from which the others continue; empty: no run yet. `last`: its newest; empty: not
    recorded. `node` None: any node. `saved`: after a repair, the run with whose files the first run begins;
    empty: a snapshot. `ended`: its issue is closed; the next run in the workspace reopens it.
    """

    TABLE: ClassVar = Table("workspaces", ("name",), ("ended,created_ms",))
    name: str
    project: str
    branch: str
    node: str | None
    created_ms: int
    created_by: str
    first: str = ""
    saved: str = ""
    last: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class IssueWork(Record):
    """The work on one issue. `workspace`: where its runs are; `said`: what was last reported to the tracker.

    `state`: the issue's state as reported to the tracker; `text`: the issue's text as its runs know it;
    `pull`: the address of its pull request; `comment`: the tracker's id of PanCode's comment; `trouble`: why
    the tracker could not be updated. `run`: its newest run, recorded before it is queued, in this `epoch`: a
    coordinator that is killed in between leaves a record without its run. `tracker`: its kind. `ended`: the
    issue is closed, and its change has landed or was dropped.
    """

    TABLE: ClassVar = Table("issue_works", ("workspace",), ("ended,began_ms",))
    workspace: str
    ref: str
    title: str
    url: str
    project: str
    by: str
    began_ms: int
    text: str
    tracker: str
    state: str = ""
    said: str = ""
    pull: str = ""
    comment: str = ""
    trouble: str = ""
    run: str = ""
    epoch: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class WatchedPull(Record):
    """A pull request that PanCode opened, and its checks and remarks. `run`: whose change it was opened
    with; `forge`: the kind; `repository`: host, owner and name; `remote`: the name of the git remote.

    `follow`: whether checks and remarks start work. `state`: open, merged or closed, and why the forge would
    not merge it; `head`: the commit that the forge showed last, first seen at `head_ms`. `items`: what waits
    for a user; `seen`: the ids of checks and remarks that became items. `rounds`: the messages sent since a
    user's last word; `mark`: a text that only the message of the round under way contains; empty: no round;
    `message`: that message; `worker`: the run that got it; empty: it is not known whether one did. `ready`:
    the head that was reported as approved; `merging`: the head whose merge was requested, unless the forge
    refused it. `trouble`: why the last step failed. `ended`: it is merged, closed or not watched any more.
    """

    TABLE: ClassVar = Table("pull_requests", ("id",), ("ended,opened_ms",))
    id: str
    run: str
    project: str
    forge: str
    repository: str
    number: int
    url: str
    remote: str
    branch: str
    by: str
    opened_ms: int
    follow: bool = False
    state: str = "open"
    head: str = ""
    head_ms: int = 0
    looked_ms: int = 0
    items: tuple[dict[str, object], ...] = ()
    seen: tuple[str, ...] = ()
    rounds: int = 0
    mark: str = ""
    message: str = ""
    worker: str = ""
    ready: str = ""
    merging: str = ""
    trouble: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class StoredTool(Record):
    """A tool that agents have made. `place`: the run that proposes it, or the project that keeps it.

    `trial`: the newest run that tried the tool, or empty. `by`: who kept it. `packed`: the files of a kept
    tool, and `digest`: their digest; a proposal's files are in `StoredToolFiles`, as every inbox query reads
    this row. `signed`: the coordinator's signature that it was kept. `problem`: why it cannot be tried.
    """

    TABLE: ClassVar = Table("made_tools", ("place", "name"), ("kept,at_ms",))
    place: str
    name: str
    kept: bool
    project: str
    run: str
    digest: str
    packed: str
    at_ms: int
    trial: str = ""
    by: str = ""
    signed: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StoredToolFiles(Record):
    """The files of a proposed tool; they never change."""

    TABLE: ClassVar = Table("made_tool_files", ("run", "name"))
    run: str
    name: str
    packed: str


@dataclass(frozen=True, slots=True)
class ConfigProposal(Record):
    """A change of the configuration that waits for a user. `value` None: the setting is removed. `old` and
    `new`: the effective values before and after. `by`: who requests it; `run`: the run that sent it."""

    TABLE: ClassVar = Table("config_proposals", ("id",), ("at_ms",))
    id: str
    at_ms: int
    kind: str
    target: str
    value: str | None
    old: str
    new: str
    notes: list[str]
    why: str
    by: str
    run: str | None


@dataclass(frozen=True, slots=True)
class ConfigChange(Record):
    """A record of a configuration change: the change that reverts it, and the value that was set."""

    TABLE: ClassVar = Table("config_changes", ("number",))
    number: int
    kind: str
    target: str
    value: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class KeptPlan(Record):
    """The newest plan that a user has kept in a workspace. `plan`, `questions`: SHA-256 of its two files."""

    TABLE: ClassVar = Table("plans", ("workspace",))
    workspace: str
    plan: str
    questions: str
    kept_ms: int
    kept_by: str


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


@dataclass(frozen=True, slots=True)
class RunNote(Record):
    """A note on what a run in a repository or lane decided, did and left open, from its accepted receipt."""

    TABLE: ClassVar = Table("notes", ("run",), ("project,at_ms", "at_ms"))
    run: str
    at_ms: int
    project: str
    """Absolute path of the user's repository; empty: there is none."""
    agent: str
    commit: str | None
    """The commit of the run's result; None: it changed nothing."""
    receipt: str
    """The receipt's digest; empty: unknown."""
    task: str
    """The run's task, shortened."""
    parts: dict[str, str] = field(default_factory=dict, hash=False)
    """The parts of the run's report, by their names in the report form."""


@dataclass(frozen=True, slots=True)
class Workflow(Record):
    """Several steps that depend on each other, as requested, and their progress."""

    TABLE: ClassVar = Table("workflows", ("id",), ("created_ms", "state"))
    id: str
    created_ms: int
    created_by: str
    kind: WorkflowKind
    name: str
    input: str
    """The text that replaces `$INPUT` in tasks."""
    cwd: str | None
    concurrency: int | None = None
    """How many of the workflow's runs may work at once; None: no limit besides the fleet's slots."""
    stagger_ms: int = 0
    """The minimum time between the starts of two runs, in milliseconds."""
    fail_fast: bool = False
    budget: Decimal | None = None
    """The most USD that all runs of the workflow may cost together."""
    race: dict[str, object] = field(default_factory=dict)
    """`by`: first, score or smallest; `score`: the command. Empty: the workflow is not a race."""
    caller: dict[str, object] = field(default_factory=dict)
    """The caller's settings and preset for the dispatch of later steps, and whether the result lands."""
    state: WorkflowState = WorkflowState.RUNNING
    reason: str = ""
    winner: str | None = None
    """The step that won the race."""
    stop_asked: str | None = None
    finished_ms: int | None = None
    retry_of: str | None = None
    lane: dict[str, object] = field(default_factory=dict)
    """For a lane: `defaults` of its items, `goes_on` after a failed item, `paused` and by whom, and `stands`:
    the `run` of the item at which it waits for a user, and `what` it waits for."""


@dataclass(frozen=True, slots=True)
class WorkflowStep(Record):
    """One step of a workflow: its request, its runs, and its results."""

    TABLE: ClassVar = Table("workflow_steps", ("workflow", "number"), ("workflow",))
    workflow: str
    number: int
    name: str
    needs: tuple[str, ...]
    request: dict[str, object]
    """The request for the step's runs: the fields of a DispatchRequest that are not left out."""
    files: tuple[str, ...] = ()
    """Names and patterns of files of the step's result that later steps may use."""
    until: dict[str, object] = field(default_factory=dict)
    """`field` and `equals`: the verdict with which the step stops repeating. Empty: the step runs once."""
    most: int = 1
    """The most repetitions of the step."""
    verdict: dict[str, object] = field(default_factory=dict)
    """`file` and `schema`: the JSON file that the step's run must write, and its allowed content."""
    back_to: str | None = None
    """The step with which each repetition begins; None: this step."""
    state: WorkflowStepState = WorkflowStepState.WAITING
    round: int = 1
    run: str | None = None
    runs: tuple[str, ...] = ()
    """The ids of all runs of the step, oldest first."""
    reason: str = ""
    outputs: dict[str, object] = field(default_factory=dict)
    """The outputs of the step that exist so far: `of` (the run), `files`, `verdict`, `score`, `conflict`."""
    started_ms: int | None = None
    finished_ms: int | None = None
    lost: str | None = None
    """The step's lost run, which may still work. Its result is used, unless another run has replaced it."""
    begins_ms: int | None = None
    """The earliest start of the step, because a circuit breaker is open or a ceiling has no room."""
    item: dict[str, object] = field(default_factory=dict)
    """An item of a lane: `place` in its order, `by` and `at_ms` of who added it, `caller`, `priority`;
    optionally `key`, `expires_ms` and `skip`."""


class FiringState(StrEnum):
    """The states of one firing; the last four are final."""

    WAITING = "waiting"
    """The firing waits for the end of the previous one."""
    STARTING = "starting"
    """The firing has the id of its run or workflow, which may not exist yet."""
    BEGUN = "begun"
    REFUSED = "refused"
    """Admission refused the work, or the request was not valid."""
    FAILED = "failed"
    """PanCode itself failed."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Schedule(Record):
    """Work that begins at a time or on an event, as requested."""

    TABLE: ClassVar = Table("schedules", ("name",))
    name: str
    created_ms: int
    created_by: str
    trigger: dict[str, object]
    """`kind`: cron, at, event or webhook; and the settings of that kind."""
    work: dict[str, object]
    """What begins: a dispatch or a workflow, with the caller's settings and preset."""
    missed: str = "once"
    """Which of the times missed while no coordinator ran fire later: once, none or all."""
    overlap: bool = False
    """Whether a firing may begin while the last one still runs."""
    paused: str | None = None
    """Why the schedule is paused; None: it is not paused."""
    seen_ms: int = 0
    """The wall time in milliseconds up to which the schedule's times have been handled."""
    next_ms: int | None = None
    """When the schedule fires next; None: never by time."""
    mark: str = ""
    """The newest event that the schedule has handled."""


@dataclass(frozen=True, slots=True)
class Firing(Record):
    """One firing of a schedule. Its key, a time, event or call, is unique among firings."""

    TABLE: ClassVar = Table("firings", ("schedule", "key"), ("schedule,at_ms", "state", "run", "workflow"))
    schedule: str
    key: str
    """The minute in UTC, the number of an event, a commit, or the moment of a user's request."""
    at_ms: int
    """When the firing was due."""
    state: FiringState = FiringState.WAITING
    run: str | None = None
    workflow: str | None = None
    reason: str = ""
    fix: str = ""
    cause: dict[str, object] = field(default_factory=dict)
    """The event, commit or user that caused the firing; empty: a time of the schedule."""
    depth: int = 0
    """The length of the chain of event firings that led to this firing."""
    late: bool = False
    """Whether the firing replaces one that was missed while no coordinator ran."""
    done_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery(Record):
    """One waiting message to one target. It is written in the transaction that follows its event, and deleted
    once it was sent or has failed."""

    TABLE: ClassVar = Table("deliveries", ("id",), ("target,created_ms",))
    id: str
    """Made of the target and the event's number, so that no delivery is duplicated."""
    target: str
    """`notify:CHANNEL`; rows of an earlier version may have `webhook:NAME`, whose delivery fails."""
    created_ms: int
    kind: str
    body: dict[str, object]
    due_ms: int
    tries: int = 0


@dataclass(frozen=True, slots=True)
class KeyedRequest(Record):
    """A request with an idempotency key. The row is written before it begins, and again with its answer."""

    TABLE: ClassVar = Table("keyed_requests", ("who", "key"), ("created_ms",))
    who: str
    """The sender: the owner (`socket`), a token (`token:DIGEST`) or a run (`run:ID`)."""
    key: str
    route: str
    digest: str
    """SHA-256 of the body, hexadecimal."""
    created_ms: int
    status: int | None = None
    """The HTTP status of the answer; None: no answer is stored."""
    answer: str = ""
    """The answer's JSON as it was sent."""


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
