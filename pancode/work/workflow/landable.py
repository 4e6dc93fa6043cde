"""Decides which runs of a workflow have the change that there is to land."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pancode.core.records import Run, Workflow, WorkflowStep, WorkflowStepState
from pancode.workflow.plan import ancestors


def results_of(workflow: Workflow, steps: Sequence[WorkflowStep], runs: Mapping[str, Run]) -> tuple[str, ...]:
    """The runs that have the results of a workflow, in the order of its steps.

    `runs`: the newest of each step, and the earlier ones of the step from which that goes on.

    Of a race it is the winner's. Else it is each step that has changed something, where all steps that begin
    from it are done and have changed nothing: the last one that works has it all.
    """
    changed = {step.name for step in steps if _has_work(step, runs)}
    if workflow.race:
        return tuple(str(step.run) for step in steps if step.name == workflow.winner and step.name in changed)
    left_out = set[str]()
    for step in steps:
        if step.needs and (step.name in changed or step.state is not WorkflowStepState.DONE):
            left_out |= ancestors(step.name, steps)
    return tuple(str(step.run) for step in steps if step.name in changed - left_out)


def _has_work(step: WorkflowStep, runs: Mapping[str, Run]) -> bool:
    """A verdict alone is no work: it is about the work of another step."""
    run, verdict = runs.get(str(step.run)), step.verdict.get("file")
    while run is not None:
        files = run.result.get("files_changed")
        named = files if isinstance(files, list | tuple) else ()
        if run.result.get("commit") is not None and (verdict is None or any(n != verdict for n in named)):
            return True
        run = runs.get(run.terms.get("continues", ""))
    return False
