"""The bodies of requests on workflows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from pancode.interfaces.http.bodies import ActBody, Body, By, LaterBody, Usd, WorkBody
from pancode.kernel.values import replace, take_shared
from pancode.workflows.files.entries import StepEntry
from pancode.workflows.model import MOST_STEPS, ProjectFile, StepPlan, WorkflowPlan
from pancode.workflows.planned import PlannedWorkflow
from pancode.workflows.records import WorkflowKind

StepName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\s{}./\\]+$")]


class RaceBody(Body):
    """The rule that decides a race. `score`: for `by: score`, the command that prints a number."""

    by: Literal["first", "score", "smallest"] = "first"
    score: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None


class StepBody(StepEntry, Body):
    """A step as in a workflow file; `name` is required. `files`: files that it keeps for later steps.
    `dispatch`: its options, as in `POST /v1/runs`."""

    model_config = ConfigDict(strict=False)
    name: StepName
    dispatch: WorkBody = Field(default_factory=WorkBody)

    def plan(self, by: str, depth: int, approved: bool, score: str | None = None) -> StepPlan:
        """Return the step's plan. `score`: the command that prints a result's score in a race."""
        given = {**self.to_work(), **self.dispatch.model_dump(exclude_unset=True)}
        request = replace(
            WorkBody.model_validate(given).asked(by), depth=depth, confirmed=approved, score=score
        )
        return self.to_plan(self.name, request, self.needs or ())


class ProjectFileBody(Body):
    """The project's file that a workflow was read from. `replaces`: the shipped workflow of the same name."""

    place: Annotated[str, Field(max_length=4096)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The SHA-256 of the file's content."""
    replaces: Annotated[str, Field(max_length=200)] = ""


def _is_planned(kind: WorkflowKind) -> WorkflowKind:
    if kind is WorkflowKind.LANE:
        raise ValueError("a lane is created by POST /v1/lanes")
    return kind


class WorkflowBody(LaterBody):
    """A whole workflow; `input` replaces `$INPUT`.

    `concurrency`: maximum runs at a time. `fail_fast`: the first failure stops the others. `partial`: leave
    out refused steps. `stagger_ms`: delay between starts on a node. `land`: land when all is done.
    """

    kind: Annotated[WorkflowKind, AfterValidator(_is_planned)]
    name: Annotated[str, Field(max_length=200)] = ""
    by: By = "api"
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    input: Annotated[str, Field(max_length=1_000_000)] = ""
    parent: str | None = None
    depth: int = Field(default=0, ge=0, le=1_000)
    steps: tuple[StepBody, ...] = Field(min_length=1, max_length=MOST_STEPS)
    concurrency: int | None = Field(default=None, ge=1, le=10_000)
    stagger_ms: int = Field(default=0, ge=0, le=60_000)
    fail_fast: bool = False
    partial: bool = False
    budget: Usd | None = None
    race: RaceBody | None = None
    file: ProjectFileBody | None = None
    """The project's file it is from, or None. Without approval, no step of such a file runs outside of a
    sandbox."""
    dry_run: bool = False
    yes: bool = False
    """A user has approved these steps."""

    def plan(self) -> WorkflowPlan:
        score = self.race.score if self.race is not None and self.race.by == "score" else None
        own = {
            "name": self.name or self.kind.value,
            "steps": tuple(step.plan(self.by, self.depth, self.yes, score) for step in self.steps),
            "race": {} if self.race is None else self.race.model_dump(exclude_none=True),
            "caller": {"settings": dict(self.settings), "preset": self.preset, "land": self.land},
            "file": None if self.file is None else ProjectFile(**self.file.model_dump()),
        }
        return WorkflowPlan(**take_shared(self, WorkflowPlan) | own)

    def later(self) -> PlannedWorkflow:
        return PlannedWorkflow(self.plan())


class AgainBody(ActBody):
    """`yes`: a user has approved the steps that start now."""

    yes: bool = False


class ResumeBody(AgainBody):
    """`resolve`: for each conflict between results of steps, add a step in which an agent resolves it."""

    resolve: bool = False
