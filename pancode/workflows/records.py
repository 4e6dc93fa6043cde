"""The tables of workflows."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from pancode.kernel.rows import Record, Table


class WorkflowKind(StrEnum):
    """The command that created a workflow. All kinds follow the same rules."""

    BATCH = "batch"
    CHAIN = "chain"
    RACE = "race"
    GRAPH = "graph"
    LANE = "lane"
    """The workflow stays open: its items begin one at a time, and more may be added."""


class WorkflowState(StrEnum):
    """The states of a workflow; the last four are final."""

    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    PARTIAL = "partial"
    """Some tasks of a batch are done, and others are not."""
    FAILED = "failed"
    STOPPED = "stopped"


class WorkflowStepState(StrEnum):
    """The states of a workflow's step; the last five are final."""

    WAITING = "waiting"
    """The step waits for steps that it needs, or until fewer runs of the workflow work."""
    STARTING = "starting"
    """The step has the id of its run, which may not exist yet."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """The step's dispatch did not pass admission."""
    SKIPPED = "skipped"
    """The step never began, because a step that it needs failed or the workflow was stopped."""
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Whether this state is final."""
        return self not in (self.WAITING, self.STARTING, self.RUNNING)


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
