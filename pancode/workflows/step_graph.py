"""Checks how a workflow's steps are connected: needs, loops, and step outputs used in tasks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pancode.kernel.errors import UsageError
from pancode.kernel.names import find_nearest
from pancode.runs.request import workspace_in
from pancode.workflows.model import IN_ORDER, RaceRule, StepPlan, WorkflowPlan, find_ancestors
from pancode.workflows.records import WorkflowKind
from pancode.workflows.step_work import find_misspelt, find_places, format_place, is_kept

FORMS = "{{ steps.NAME.answer }}, {{ steps.NAME.commit }} or {{ steps.NAME.files.PATH }}"
UNTIL = 'until: verdict == "approved"'
"""An example of a condition, for the hints about conditions."""


@dataclass(frozen=True, slots=True)
class StepProblem:
    """A problem of one step. `key`: the step's key that is wrong."""

    step: StepPlan
    key: str
    what: str
    why: str = ""
    fix: str = ""


def check_plan(plan: WorkflowPlan) -> None:
    """Raise UsageError with the path of the first invalid key."""
    names = [step.name for step in plan.steps]
    if not names:
        raise UsageError("the workflow has no steps", fix="give at least one task", code="bad_value")
    for number, name in enumerate(names):
        if names.index(name) != number:
            what = f"two steps are named {name!r}"
            raise _make_plan_error(f"steps.{number}.name", what, "", "give each step its own name")
    for one in find_problems_of(plan.steps, refers=plan.kind in IN_ORDER):
        path = f"steps.{names.index(one.step.name)}.{one.key}"
        raise _make_plan_error(path, one.what, one.why, one.fix)
    if plan.kind not in IN_ORDER and any(workspace_in(step.request.workspace) for step in plan.steps):
        what = f"the tasks of a {plan.kind} run in parallel, but only one can work in a workspace"
        raise _make_plan_error("steps", what, "", "remove workspace, or use a chain")
    if plan.kind not in IN_ORDER and any(step.needs for step in plan.steps):
        what = f"the steps of a {plan.kind} cannot have needs"
        raise _make_plan_error("steps", what, "", "remove needs, or use a graph")
    if (plan.kind is WorkflowKind.RACE) != bool(plan.race):
        what = "a race must have a rule for the winner, and no other workflow may have one"
        raise _make_plan_error("race", what, "", "race: {by: first}")
    if plan.race and (plan.race["by"] == RaceRule.SCORE) != bool(plan.race.get("score")):
        what = "a race by score must have a score command, and no other race may have one"
        raise _make_plan_error("race.score", what, "", "race: {by: score, score: CMD}")


def _make_plan_error(path: str, what: str, why: str, fix: str) -> UsageError:
    return UsageError(f"{path}: {what}", why=why, fix=fix, code="bad_workflow", details={"path": path})


def find_problems_of(steps: Sequence[StepPlan], *, refers: bool = True) -> Iterator[StepProblem]:
    """Yield the problems of steps with different names. `refers`: tasks may refer to earlier steps."""
    known = {step.name: step for step in steps}
    above = {step.name: find_ancestors(step.name, steps) for step in steps}
    for step in steps:
        for need in dict.fromkeys(step.needs):
            if need not in known:
                yield _make_unknown(step, "needs", f"step {step.name} needs {need!r}", need, known)
    yield from _find_cycles(known, above)
    for step in steps:
        yield from _find_loop_problems(step, known, above[step.name])
        for place in (place for place in find_places(step.request.task) if refers and place.step):
            what = f"step {step.name}: {format_place(place)} is not a valid reference"
            source = known.get(place.step)
            if source is None:
                yield _make_unknown(step, "task", what, place.step, known)
            elif place.step not in above[step.name]:
                why = f"step {step.name} does not wait for step {place.step}"
                yield StepProblem(step, "task", what, why, f"needs: [{place.step}]")
            elif place.path and not any(is_kept(place.path, kept) for kept in source.files):
                near = find_nearest(place.path, source.files)
                fix = f"did you mean {near}?" if near else f"at step {place.step}, add files: [{place.path}]"
                yield StepProblem(step, "task", what, f"step {place.step} does not keep such a file", fix)
        for word in find_misspelt(step.request.task, known) if refers else ():
            what = f"step {step.name}: {word} is not a valid reference"
            yield StepProblem(step, "task", what, fix=f"write {FORMS}")


def _make_unknown(
    step: StepPlan, key: str, what: str, name: str, known: Mapping[str, StepPlan]
) -> StepProblem:
    near = find_nearest(name, known)
    fix = f"did you mean {near}?" if near else f"use one of its steps: {', '.join(known)}"
    return StepProblem(step, key, what, "no step has this name", fix)


def _find_cycles(known: Mapping[str, StepPlan], above: Mapping[str, set[str]]) -> Iterator[StepProblem]:
    """Yield one problem for each cycle of steps, at the step that comes first."""
    reported: set[str] = set()
    for name, step in known.items():
        if name in reported or name not in above[name]:
            continue
        reported |= {one for one in above[name] if name in above.get(one, ())}
        yield StepProblem(
            step,
            "needs",
            f"steps wait for each other: {' -> '.join(_find_path(name, known))}",
            "none of these steps could start",
            "remove one `needs`; write a loop with until, max and back-to",
        )


def _find_path(start: str, steps: Mapping[str, StepPlan]) -> list[str]:
    """Return the shortest path along needs from the step back to itself."""
    ways = [[start]]
    seen = set[str]()
    for way in ways:
        step = steps.get(way[-1])
        for need in step.needs if step else ():
            if need == start:
                return [*way, start]
            if need not in seen:
                seen.add(need)
                ways.append([*way, need])
    return [start, start]


def _find_loop_problems(
    step: StepPlan, known: Mapping[str, StepPlan], above: set[str]
) -> Iterator[StepProblem]:
    back, until = step.back_to, step.until
    for key in [*(["max"] if step.most > 1 else []), *(["back-to"] if back else [])] if not until else ():
        what = f"step {step.name} has {key} but no until"
        yield StepProblem(step, key, what, fix=f"write it like this: {UNTIL}")
    if not until:
        return
    field, equals, schema = until["field"], until["equals"], step.verdict.get("schema", {})
    if not step.verdict:
        fix = f"verdict: {{schema: {{{field}: [{equals}, ...]}}}}"
        why = "a verdict is a file that the step must write, checked against its schema"
        yield StepProblem(step, "until", f"step {step.name} has until but no verdict", why, fix)
    elif field not in schema:
        near = find_nearest(field, schema) or ", ".join(schema)
        what = f"step {step.name}: the verdict has no field {field!r}"
        yield StepProblem(step, "until", what, fix=f"the verdict's schema has {near}")
    elif equals not in schema[field]:
        what = f"step {step.name}: {field} is never {equals!r}"
        allowed = ", ".join(map(str, schema[field]))
        yield StepProblem(step, "until", what, fix=f"the verdict's schema allows {allowed}")
    if back is not None and back not in known:
        yield _make_unknown(step, "back-to", f"step {step.name} goes back to {back!r}", back, known)
    elif back not in (None, step.name) and back not in above:
        why = f"step {back} does not come before {step.name}"
        fix = f"needs: [{back}], or go back to an earlier step"
        yield StepProblem(step, "back-to", f"step {step.name} cannot go back to {back}", why, fix)
