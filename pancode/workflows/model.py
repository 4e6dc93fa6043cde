"""A requested workflow: its file, its steps with their dependencies, and the rows that it is stored as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.values import take_shared
from pancode.runs.request import DispatchRequest, dump_request, request_from, workspace_in
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.workflows.step_work import check_places

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


def check_plan(plan: WorkflowPlan) -> None:
    """Raise UsageError with the path of the first invalid key."""
    names = [step.name for step in plan.steps]
    if not names:
        raise UsageError("the workflow has no steps", fix="give at least one task", code="bad_value")
    for number, step in enumerate(plan.steps):
        path = f"steps.{number}"
        if names.index(step.name) != number:
            raise _make_plan_error(
                f"{path}.name", f"two steps are named {step.name!r}", "give each step its own name"
            )
        for need in (*step.needs, *filter(None, [step.back_to])):
            if need not in names:
                raise _make_plan_error(
                    f"{path}.needs", f"step {need!r} does not exist", f"one of: {', '.join(names)}"
                )
        if step.name in step.needs:
            raise _make_plan_error(
                f"{path}.needs", f"{step.name} needs itself", f"remove {step.name} from its needs"
            )
        _check_rounds(path, step, plan.steps)
    _check_cycle(plan.steps)
    for number, step in enumerate(plan.steps if plan.kind in IN_ORDER else ()):
        _check_task(f"steps.{number}.dispatch.task", step, plan.steps)
    if plan.kind not in IN_ORDER and any(workspace_in(step.request.workspace) for step in plan.steps):
        what = f"the tasks of a {plan.kind} run in parallel, but only one can work in a workspace"
        raise _make_plan_error("steps", what, "remove workspace, or use a chain")
    if plan.kind not in IN_ORDER and any(step.needs for step in plan.steps):
        raise _make_plan_error(
            "steps", f"the steps of a {plan.kind} cannot have needs", "remove needs, or use a graph"
        )
    if (plan.kind is WorkflowKind.RACE) != bool(plan.race):
        raise _make_plan_error(
            "race",
            "a race must have a rule for the winner, and no other workflow may have one",
            "race: {by: first}",
        )
    if plan.race and (plan.race["by"] == RaceRule.SCORE) != bool(plan.race.get("score")):
        raise _make_plan_error(
            "race.score",
            "a race by score must have a score command, and no other race may have one",
            "race: {by: score, score: CMD}",
        )


def _check_task(path: str, step: StepPlan, steps: Sequence[StepPlan]) -> None:
    kept = {one.name: one.files for one in steps if one.name in find_ancestors(step.name, steps)}
    try:
        check_places(step.request.task, kept)
    except UsageError as error:
        raise UsageError(
            f"{path}: {error}", why=error.why, fix=error.fix, code=error.code, details={"path": path}
        ) from error


def _check_rounds(path: str, step: StepPlan, steps: Sequence[StepPlan]) -> None:
    if step.until and not step.verdict:
        raise _make_plan_error(
            f"{path}.until",
            f"step {step.name} repeats until its verdict is met, but has no verdict",
            "verdict: {file: verdict.json, schema: {verdict: [approved, rejected]}}",
        )
    if step.until and step.until["field"] not in step.verdict["schema"]:
        raise _make_plan_error(
            f"{path}.until",
            f"the verdict of the step has no field {step.until['field']!r}",
            "add it to the schema",
        )
    if not step.until and (step.most > 1 or step.back_to is not None):
        raise _make_plan_error(
            f"{path}.max", f"step {step.name} has rounds but no until", "until: {field: ..., equals: ...}"
        )
    if step.back_to not in (None, step.name) and step.back_to not in find_ancestors(step.name, steps):
        raise _make_plan_error(
            f"{path}.back_to",
            f"step {step.name} does not need {step.back_to}, so a round cannot start there",
            "name a step that this step needs, directly or through others",
        )


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


def _check_cycle(steps: Sequence[StepPlan]) -> None:
    done: set[str] = set()
    left = list(steps)
    while left:
        ready = [step for step in left if done.issuperset(step.needs)]
        if not ready:
            circle = " -> ".join(_find_cycle(left))
            raise _make_plan_error(
                "steps", f"these steps wait for each other: {circle}", "remove one of the needs"
            )
        done.update(step.name for step in ready)
        left = [step for step in left if step.name not in done]


def _find_cycle(left: Sequence[StepPlan]) -> Iterator[str]:
    """Yield the names of a cycle among these steps, each of which needs another one of them."""
    needs = {step.name: [need for need in step.needs if need in {one.name for one in left}] for step in left}
    seen: list[str] = []
    name = left[0].name
    while name not in seen:
        seen.append(name)
        name = needs[name][0]
    yield from (*seen[seen.index(name) :], name)


def _make_plan_error(path: str, what: str, fix: str) -> UsageError:
    return UsageError(f"{path}: {what}", fix=fix, code="bad_workflow", details={"path": path})


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
