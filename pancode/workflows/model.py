"""A requested workflow: its file, its steps with their dependencies, and the rows that it is stored as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pancode.kernel.errors import RefusedError
from pancode.kernel.values import take_shared
from pancode.runs.request import DispatchRequest, dump_request, request_from, workspace_in
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState

NEEDS_YES = "needs_yes"
"""The code of a refusal that a user's approval lifts: a terminal asks for it, other interfaces refuse."""
SETTING = "workflow_file:"
"""The prefix of a setting's name, before the digest of a file's content that a user has approved."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """The file that a workflow was read from. `replaces`: the shipped workflow of the same name."""

    place: str
    digest: str
    replaces: str = ""

    def words(self) -> str:
        """Return the notice that the file replaces a shipped workflow; empty if it does not."""
        shipped = f"{self.replaces} is {self.place}, a file of the project"
        return f"{shipped}, which replaces the workflow that PanCode ships" if self.replaces else ""


def reasons_to_ask(file: ProjectFile, bare: Iterable[str]) -> tuple[str, ...]:
    """Return why a user must approve this file. `bare`: the names of its steps with `workspace: none`."""
    names = tuple(bare)
    outside = ""
    if len(names) == 1:
        outside = f"step {names[0]} has `workspace: none`, so it runs directly on the node"
    elif names:
        outside = f"steps {', '.join(names)} have `workspace: none`, so they run directly on the node"
    return tuple(filter(None, (file.words(), outside)))


def make_consent_error(file: ProjectFile, why: str) -> RefusedError:
    """Return the refusal of a file whose content no user has approved."""
    return RefusedError(
        f"Dispatch blocked: workflow file {file.place} is not approved",
        why=(
            f"it is a file of the project, so a landed change may have written it, and {why} "
            f"(content sha256 {file.digest[:12]})"
        ),
        fix=(
            f"read it: cat {file.place}; then run the command on a terminal, or with --yes: the "
            "approval applies to this content"
        ),
        code=NEEDS_YES,
    )


MOST_STEPS = 1_000
IN_ORDER = frozenset({WorkflowKind.CHAIN, WorkflowKind.GRAPH})
"""Kinds of workflows whose steps build on each other. Only in these, tasks may have placeholders."""


class RaceRule(StrEnum):
    """The rule that decides which successful run wins a race."""

    FIRST = "first"
    SCORE = "score"
    """The run whose result gets the highest score from a command."""
    SMALLEST = "smallest"
    """The run that changed the fewest lines."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A requested step."""

    name: str
    request: DispatchRequest
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    until: Mapping[str, Any] = field(default_factory=dict)
    most: int = 1
    verdict: Mapping[str, Any] = field(default_factory=dict)
    back_to: str | None = None

    def row(self, workflow: str, number: int) -> WorkflowStep:
        own = {"workflow": workflow, "number": number, "request": dump_request(self.request)}
        return WorkflowStep(**take_shared(self, WorkflowStep) | own)


@dataclass(frozen=True, slots=True)
class WorkflowPlan:
    """A requested workflow."""

    kind: WorkflowKind
    name: str
    by: str
    input: str
    cwd: str | None
    steps: tuple[StepPlan, ...]
    concurrency: int | None = None
    stagger_ms: int = 0
    fail_fast: bool = False
    partial: bool = False
    """Whether to leave out steps that are not admitted; otherwise they refuse the whole workflow."""
    budget: Decimal | None = None
    race: Mapping[str, Any] = field(default_factory=dict)
    caller: Mapping[str, Any] = field(default_factory=dict)
    retry_of: str | None = None
    file: ProjectFile | None = None
    """The project's file from which the plan was read; None: there is none, or it was checked before."""
    id: str | None = None
    """The workflow's id if it was assigned earlier; None: a new id is assigned."""

    def row(self, workflow: str, now_ms: int) -> Workflow:
        own = {"id": workflow, "created_ms": now_ms, "created_by": self.by}
        return Workflow(**take_shared(self, Workflow) | own)


def plan_of(workflow: Workflow, steps: Sequence[WorkflowStep], by: str) -> WorkflowPlan:
    """Return the plan of an earlier workflow. If that workflow left steps out, the plan allows this again."""
    again = (
        StepPlan(**take_shared(one, StepPlan) | {"request": request_from(one.request, by)}) for one in steps
    )
    partial = workflow.kind not in IN_ORDER and any(s.state is WorkflowStepState.REFUSED for s in steps)
    own = {"by": by, "steps": tuple(again), "partial": partial, "retry_of": workflow.id, "id": None}
    return WorkflowPlan(**take_shared(workflow, WorkflowPlan) | own)


def find_ancestors(name: str, steps: Sequence[StepPlan] | Sequence[WorkflowStep]) -> set[str]:
    """Return the names of steps that this one needs, directly or indirectly; a cycle is followed once."""
    needs = {step.name: step.needs for step in steps}
    found: set[str] = set()
    left = list(needs[name])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += needs.get(one, ())
    return found


def sides_of(name: str, steps: Mapping[str, WorkflowStep], commits: Mapping[str, str]) -> tuple[str, ...]:
    """Return the step's needs that have a result, without those that another need continues from."""
    needs = [need for need in _list_bases(name, steps) if need in commits]
    carried = {one for need in needs for one in _list_carried(need, steps, commits) - {need}}
    return tuple(need for need in needs if need not in carried)


def _list_bases(name: str, steps: Mapping[str, WorkflowStep]) -> list[str]:
    """Return the needs from whose results a step starts. A step in a workspace starts from the workspace's
    files, which contain only the results of steps that also work there."""
    there = workspace_in(steps[name].request.get("workspace"))
    needs = steps[name].needs
    return [one for one in needs if there in (None, steps[one].request.get("workspace"))]


def find_history(
    name: str, steps: Mapping[str, WorkflowStep], commits: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return, for each earlier step with a result, the steps from whose results it started. A step comes
    after the steps that it started from."""
    every = tuple(steps.values())
    before = [one for one in find_ancestors(name, every) if one in commits]
    before.sort(key=lambda one: (len(find_ancestors(one, every)), one))
    return {one: sides_of(one, steps, commits) for one in before}


def _list_carried(name: str, steps: Mapping[str, WorkflowStep], commits: Mapping[str, str]) -> set[str]:
    """Return the steps whose results are part of this step's; one without a result contributes none."""
    found, left = set[str](), [name]
    while left:
        one = left.pop()
        if one not in found and one in commits:
            found.add(one)
            left += _list_bases(one, steps)
    return found
