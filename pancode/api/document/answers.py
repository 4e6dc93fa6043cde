"""The JSON with which routes answer, as types: around the objects of the control plane."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from pancode.access.token_shapes import MadeTokenShape as MadeTokenShape
from pancode.access.token_shapes import TokenShape as TokenShape
from pancode.control.shapes import AuditRow as AuditRow
from pancode.control.shapes import AuditVerdictShape as AuditVerdictShape
from pancode.control.shapes import BriefLine as BriefLine
from pancode.control.shapes import BriefShape as BriefShape
from pancode.control.shapes import BudgetShape as BudgetShape
from pancode.control.shapes import CostTable as CostTable
from pancode.control.shapes import FleetShape as FleetShape
from pancode.control.shapes import HookShape as HookShape
from pancode.control.shapes import InboxShape as InboxShape
from pancode.control.shapes import LaneItemShape as LaneItemShape
from pancode.control.shapes import LaneShape as LaneShape
from pancode.control.shapes import ModelShape as ModelShape
from pancode.control.shapes import NodeShape as NodeShape
from pancode.control.shapes import NoteShape as NoteShape
from pancode.control.shapes import PullRequestShape as PullRequestShape
from pancode.control.shapes import Queued as Queued
from pancode.control.shapes import QueuesShape as QueuesShape
from pancode.control.shapes import ReceiptRow as ReceiptRow
from pancode.control.shapes import ReportShape as ReportShape
from pancode.control.shapes import RunDetail as RunDetail
from pancode.control.shapes import RunShape as RunShape
from pancode.control.shapes import ScheduleShape as ScheduleShape
from pancode.control.shapes import ScoutShape as ScoutShape
from pancode.control.shapes import TrackRecordRow as TrackRecordRow
from pancode.control.shapes import VerdictShape as VerdictShape
from pancode.control.shapes import WhyShape as WhyShape
from pancode.control.shapes import WorkerShape as WorkerShape
from pancode.control.shapes import WorkflowShape as WorkflowShape
from pancode.notices.shapes import ChannelShape as ChannelShape
from pancode.notices.shapes import DeliveryShape as DeliveryShape
from pancode.notices.shapes import WebhookShape as WebhookShape
from pancode.runs.health import HealthRow as HealthRow
from pancode.runs.health import HealthShape as HealthShape
from pancode.sessions.shapes import CheckpointsShape as CheckpointsShape
from pancode.sessions.shapes import ContextShape as ContextShape
from pancode.sessions.shapes import DecompositionShape as DecompositionShape
from pancode.sessions.shapes import SessionShape as SessionShape
from pancode.sessions.shapes import SessionVerdictShape as SessionVerdictShape
from pancode.sessions.shapes import TasksShape as TasksShape

Json = dict[str, Any]
Object = dict[str, Any]
"""An object whose keys are not promised."""


class Octets:
    """Marks a route that answers with bytes."""


class EventStream:
    """Marks a route that answers with server-sent events."""


class RunsAnswer(TypedDict):
    runs: list[RunShape]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


class QueuedAnswer(Queued):
    warnings: list[str]
    workflow: NotRequired[str]
    """The workflow that goes on with it: the run takes the place of one of its runs."""
    answer: NotRequired[str]
    """The words with which a question was answered."""


class GateShape(TypedDict):
    """One of the ten gates of admission."""

    gate: str
    passed: bool
    warning: bool
    words: str
    fix: str


class DryRunAnswer(TypedDict):
    """The gates, and the run that would be queued."""

    dry_run: bool
    admitted: bool
    gates: list[GateShape]


class WorkflowDryRun(TypedDict):
    """The reports of all steps."""

    steps: list[Json]


class SnapshotShape(TypedDict):
    """A snapshot that is being taken. `of` is 0 until the files are counted."""

    run: str
    project: str
    done: int
    of: int


class SnapshotsAnswer(TypedDict):
    snapshots: list[SnapshotShape]


class StreamsAnswer(TypedDict):
    """By attempt: the names of its outputs."""

    streams: dict[str, list[str]]


class TailsAnswer(TypedDict):
    """By run that is under way: the end of its output."""

    tails: dict[str, str]


class CalledOffAnswer(TypedDict):
    run: str
    landings: list[Json]


class ToldAnswer(TypedDict):
    """`delivered`: how the words reached the run; null: not yet. `sent`: they are on their way to it."""

    run: str
    state: str
    delivered: str | None
    sent: bool


class SessionsAnswer(TypedDict):
    sessions: list[SessionShape]


class DecompositionsAnswer(TypedDict):
    """Of the named model, else of each that was asked."""

    models: list[DecompositionShape]


class SaidAnswer(TypedDict):
    """`how` the words reach an agent: `begins` (the next run, with them), `sent`, `with its task`, `kept`.

    `number`: that of the message in this run, as its output has it; 0: it is in the task.
    """

    run: str
    state: str
    how: str
    number: int
    warnings: list[str]


class InboxAnswer(TypedDict):
    """`also`: what waits for a person beside the questions; `by` says whose last look counts there."""

    items: list[InboxShape]
    also: list[BriefLine]


class WorkflowsAnswer(TypedDict):
    workflows: list[WorkflowShape]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


class LanesAnswer(TypedDict):
    lanes: list[LaneShape]


class LaneAddedAnswer(TypedDict):
    """`added` false: an item with this key is there already, and nothing was added."""

    lane: str
    added: bool
    item: LaneItemShape
    left: int
    state: str


class DrainAnswer(TypedDict):
    nodes: list[str]
    draining: str | None
    let_in: NotRequired[list[str]]


class ChecksAnswer(TypedDict):
    checks: list[Json]


class ProbeAnswer(TypedDict):
    target: Json
    questions: list[Json]
    warnings: list[str]


class LoginAnswer(TypedDict):
    node: str
    runtime: str
    target: Json


class ProgramsAnswer(TypedDict):
    node: str
    runtimes: list[str]
    target: Json


class CleanedAnswer(TypedDict):
    forgotten: bool


class NodeResultShape(TypedDict):
    """The result of a long call for one node."""

    node: str
    ok: bool
    problems: list[Json]
    changed: list[str]
    seconds: float
    again: bool


class StoppingAnswer(TypedDict):
    stopping: bool
    pid: int | None


class BreakerShape(TypedDict):
    name: str
    state: str
    failures: int
    until_ms: int | None
    why: str


class BreakersAnswer(TypedDict):
    breakers: list[BreakerShape]


class FigureShape(TypedDict):
    name: str
    labels: dict[str, str]
    value: float


class FiguresAnswer(TypedDict):
    figures: list[FigureShape]
    text: str


class PausedAnswer(TypedDict):
    queue: str | None
    paused: str | None


class ReceiptsAnswer(TypedDict):
    receipts: list[ReceiptRow]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


class KeysAnswer(TypedDict):
    keys: list[Json]


class AuditAnswer(TypedDict):
    audit: list[AuditRow]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


class RuntimesAnswer(TypedDict):
    runtimes: list[Json]
    walls: list[Json]


class EndpointsAnswer(TypedDict):
    endpoints: list[Json]


class ModelsAnswer(TypedDict):
    models: list[ModelShape]


class ModeShape(TypedDict):
    name: str
    dispatches: bool
    writes: bool
    default: bool


class ModesAnswer(TypedDict):
    modes: list[ModeShape]


class LevelShape(TypedDict):
    name: str
    allows: list[str]
    default: bool


class HeldShape(TypedDict):
    """How a runtime keeps to a rule, with a sandbox and without."""

    runtime: str
    rule: str
    with_sandbox: str
    without: str


class SafetyAnswer(TypedDict):
    safety: list[LevelShape]
    matrix: list[HeldShape]


class SettingsAnswer(TypedDict):
    settings: list[Json]


class SaidShape(TypedDict):
    value: str
    origin: str


class ChangeAnswer(TypedDict):
    kind: str
    target: str
    value: str | None
    old: SaidShape
    new: SaidShape
    notes: list[str]


class ProjectShape(TypedDict):
    name: str
    path: str
    remote: str
    agent: str | None
    require: dict[str, str]
    budget: str | None
    verify: list[list[str]] | None
    prefix: str
    linear_id: str
    linear_name: str
    tracker: str
    there: bool
    notes: NotRequired[list[str]]


class ProjectsAnswer(TypedDict):
    projects: list[ProjectShape]


class RecoveredShape(TypedDict):
    run: str
    outcome: str
    how: str
    next: str | None
    error: str | None


class RecoveredAnswer(TypedDict):
    runs: list[RecoveredShape]


class WorkspaceShape(TypedDict):
    workspace: str
    project: str
    branch: str
    node: str | None
    created_at: str
    created_by: str
    used_at: str | None
    count: int
    """Its runs."""
    last: str | None
    outcome: str | None
    agent: str | None
    """Who works there now."""
    at_node: str | None
    files: list[str]
    """What its runs have changed and nobody has landed."""
    commit: str | None


class WorkspacesAnswer(TypedDict):
    workspaces: list[WorkspaceShape]


class WorkspaceAnswer(WorkspaceShape):
    runs: list[Json]
    problems: list[Json]


class IssueShape(TypedDict):
    """An issue as its tracker tells it."""

    issue: str
    title: str
    url: str
    state: str
    labels: list[str]
    assignees: list[str]
    author: str


class IssuesAnswer(TypedDict):
    project: str
    issues: list[IssueShape]


class IssueAnswer(IssueShape):
    project: str
    text: str


class IssueWorkShape(TypedDict):
    """The work on an issue. `state`: as its tracker was told; `trouble`: why it could not be told."""

    issue: str
    title: str
    url: str
    project: str
    workspace: str
    began_at: str
    by: str
    state: str | None
    run: str | None
    run_state: str | None
    waits: bool
    pull: str | None
    trouble: str | None


class IssueWorksAnswer(TypedDict):
    works: list[IssueWorkShape]


class PlanAnswer(TypedDict):
    """Where a plan is made. `task`: what its planner is asked; `run`: its talk, empty before that begins;
    `file`: where it is kept."""

    workspace: str
    file: str
    task: str
    run: str


class IssueWorkAnswer(TypedDict):
    """The run that was queued; with `dry_run` what it would be asked, and the report of its gates."""

    issue: str
    title: str
    url: str
    workspace: str
    task: NotRequired[str]
    report: NotRequired[DryRunAnswer]
    run: NotRequired[str]
    state: NotRequired[str]
    reason: NotRequired[str]
    agent: NotRequired[str]
    chosen: NotRequired[str]
    warnings: NotRequired[list[str]]


class RemovedWorkspaceAnswer(TypedDict):
    removed: str
    kept: str | None


class ProposedAnswer(ChangeAnswer):
    id: str


class SettledAnswer(TypedDict):
    run: str
    usd: str
    attempts: int


class WorkersAnswer(TypedDict):
    workers: list[WorkerShape]


class TrackRecordsAnswer(TypedDict):
    records: list[TrackRecordRow]


class LookedAnswer(TypedDict):
    by: str


class PresetShape(TypedDict):
    name: str
    description: str
    model: str | None
    worker_model: str | None
    scout_model: str | None
    reasoning: str | None
    safety: str | None
    origin: str
    applied: bool


class PresetsAnswer(TypedDict):
    presets: list[PresetShape]


class AppliedAnswer(TypedDict):
    preset: str | None
    before: str | None
    settings: NotRequired[list[Json]]
    warnings: NotRequired[list[str]]


class AgentsAnswer(TypedDict):
    """`talks`: whom a person talks with who names nobody; null: a person has switched that agent off."""

    agents: list[Json]
    talks: str | None


class PromptAnswer(TypedDict):
    agent: str
    mode: str
    safety: str
    runtime: str
    digest: str
    window: int | None
    """Tokens of the window of the model that was named; null: not known, so nothing is left out."""
    tokens: Any
    left_out: list[str]
    pieces: list[Json]


class PromptVersion(TypedDict):
    """One text that an agent was given; `run`: the newest run with it."""

    digest: str
    runs: int
    first_at: str
    last_at: str
    run: str


class PromptVersionsAnswer(TypedDict):
    versions: list[PromptVersion]


class HistoryAnswer(TypedDict):
    """`repository` null: of all."""

    repository: str | None
    notes: list[NoteShape]


class ExploreAnswer(TypedDict):
    """A row for each question, in their order."""

    scouts: list[ScoutShape]


class ForgottenAnswer(TypedDict):
    """The runs that had the notes."""

    forgotten: list[str]


class RunPromptAnswer(TypedDict):
    """As the run was dispatched; what its node adds (AGENTS.md) is in the digest of its receipt."""

    run: str
    agent: str
    digest: str
    text: str


class PingAnswer(TypedDict):
    """More only to who may know it: pid, home, begin."""

    version: str


class TokensAnswer(TypedDict):
    tokens: list[TokenShape]


class RevokedAnswer(TokensAnswer):
    """The tokens that are left. `paused`: schedules that the revoked token has made."""

    paused: list[str]


class WebCodeAnswer(TypedDict):
    code: str
    url: str
    lasts_ms: int


class EndedAnswer(TypedDict):
    ended: str


class SchedulesAnswer(TypedDict):
    schedules: list[ScheduleShape]


class RemovedAnswer(TypedDict):
    removed: str


class LandingsAnswer(TypedDict):
    landings: list[Json]


class GreenAnswer(TypedDict):
    runs: list[RunShape]


class ChannelsAnswer(TypedDict):
    channels: list[ChannelShape]
    troubles: list[str]
    unknown_channels: list[str]
    """Channels that a rule names and the settings do not have."""


class WebhooksAnswer(TypedDict):
    webhooks: list[WebhookShape]


class DeliveriesAnswer(TypedDict):
    deliveries: list[DeliveryShape]


class RoomRow(TypedDict):
    """Bytes on the disk of a machine; `node` null: of the coordinator's home."""

    node: str | None
    what: str
    bytes: int


class KeptFilesRow(TypedDict):
    """So many old runs keep their files, and why."""

    runs: int
    why: str


class CollectAnswer(TypedDict):
    """`changes`, `logs`: of so many runs they go. `young`: so many runs are not old enough yet.

    `freed`: bytes; commits give their room back two weeks later.
    """

    changes: int
    logs: int
    young: int
    kept: list[KeptFilesRow]
    freed: int
    room: list[RoomRow]
