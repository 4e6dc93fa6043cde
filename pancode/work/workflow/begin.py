"""Begins a workflow: its first steps are judged, their snapshots taken, and all of them queued at once."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.control.core import Core, decided
from pancode.control.surroundings import Surroundings
from pancode.core.ports import SnapshotTaken
from pancode.core.values import replace
from pancode.dispatch import dispatch
from pancode.dispatch.dispatch import new_id_in, passed
from pancode.dispatch.resolve import Resolution
from pancode.errors import PancodeError
from pancode.work.workflow.agreeing import held
from pancode.work.workflow.committing import BegunWorkflow, ReadyStep, commit
from pancode.work.workflow.judging import judged_step, refused
from pancode.workflow.plan import StepPlan, WorkflowPlan, check
from pancode.workflow.project_file import needs_yes


def begin(core: Core, around: Surroundings, plan: WorkflowPlan) -> BegunWorkflow:
    """Queue the steps that need no other, all or none of them (`partial`: those that are admitted).

    All steps are judged, as far as a later one is known now. The refusal of one names it, and nothing begins.
    """
    check(plan)
    asked, plan = plan, held(core, plan)
    judged = [_judged(core, around, plan, step, asked.steps[n]) for n, step in enumerate(plan.steps)]
    ready = _with_snapshots(core, plan, [one for one in judged if not one.step.needs])
    begun = decided(
        core.lists, core.lock, lambda: commit(core, plan, _judged_again(core, around, plan, ready))
    )
    said = plan.file.words() if plan.file is not None else ""
    return replace(begun, warnings=(said, *begun.warnings)) if said else begun


def _judged(
    core: Core, around: Surroundings, plan: WorkflowPlan, step: StepPlan, asked: StepPlan
) -> ReadyStep:
    """A step of a project's file that only the missing sandbox keeps from beginning is for a person's yes."""
    try:
        one = judged_step(core, around, plan, step)
        error = one.refused
    except PancodeError as refusal:
        one, error = None, refusal
    if error is not None and plan.file is not None and step.request.walled and not asked.request.walled:
        _unless_free(core, around, plan, asked)
    if one is None:
        assert error is not None
        raise error
    return one


def _unless_free(core: Core, around: Surroundings, plan: WorkflowPlan, step: StepPlan) -> None:
    """RefusedError where it could begin outside of a sandbox."""
    assert plan.file is not None
    if judged_step(core, around, replace(plan, partial=True), step).refused is None:
        raise needs_yes(
            plan.file, f"step {step.name} would run outside of a sandbox: no machine has one for it"
        )


def _with_snapshots(core: Core, plan: WorkflowPlan, ready: Sequence[ReadyStep]) -> list[ReadyStep]:
    """Each with the id of its run, and its snapshot: one for all that would take the same files."""
    known: dict[object, SnapshotTaken] = {}
    ids: set[str] = set()
    done = []
    for one in ready:
        if one.judged is None:
            done.append(one)
            continue
        run, resolution = _fresh(core, ids), one.judged.resolution
        try:
            snapshot = _snapshot(core, resolution, run, known)
        except PancodeError as error:
            done.append(refused(plan, one.step, error))
            continue
        done.append(replace(one, run=run, taken=snapshot))
    return done


def _snapshot(
    core: Core, resolution: Resolution, run: str, known: dict[object, SnapshotTaken]
) -> SnapshotTaken | None:
    same = (resolution.project, resolution.request.folder, resolution.allowed_files)
    if same in known:
        core.ports.depot.begin_at(run, known[same])
        return known[same]
    snapshot = dispatch.take(core, resolution, run)
    if snapshot is not None:
        known[same] = snapshot
    return snapshot


def _fresh(core: Core, ids: set[str]) -> str:
    """A run's id that is not taken, in this workflow either."""
    with core.ports.ledger.transaction() as tx:
        while (run := new_id_in(core, tx)) in ids:
            pass
    ids.add(run)
    return run


def _judged_again(
    core: Core, around: Surroundings, plan: WorkflowPlan, ready: Sequence[ReadyStep]
) -> list[ReadyStep]:
    """Snapshots may take long: what has taken one is judged as things are now."""
    done = []
    for one in ready:
        if one.asked is None or one.taken is None:
            done.append(one)
            continue
        asked = replace(one.asked, request=replace(one.asked.request, repo=one.taken.repo))
        try:
            done.append(replace(one, judged=passed(core, around, asked)))
        except PancodeError as error:
            done.append(refused(plan, one.step, error))
    return done
