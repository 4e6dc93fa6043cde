"""The rows of workflows."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

from pancode.core.rows.base import Record, Table
from pancode.core.states import WorkflowKind, WorkflowState, WorkflowStepState


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
    """It does not begin before this time: a circuit breaker is open."""
