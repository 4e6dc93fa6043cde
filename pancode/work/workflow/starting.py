"""Starts one step of a workflow: its task is filled in, its dispatch judged, its run queued under its id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pancode.agents.request import request_from
from pancode.control.core import Core, decided
from pancode.control.surroundings import Surroundings
from pancode.control.work import unit_of_work
from pancode.core.ports import SnapshotTaken
from pancode.core.records import Workflow, WorkflowStep, WorkflowStepState
from pancode.core.values import replace
from pancode.dispatch import dispatch
from pancode.dispatch.dispatch import AskedDispatch, ask, dry_run, passed, put_in_queue
from pancode.errors import PancodeError, RefusedError, UnavailableError
from pancode.runs.workspaces import in_workspace
from pancode.work.workflow import rows
from pancode.work.workflow.committing import run_in
from pancode.work.workflow.preparing import PreparedWork, StepPreparer
from pancode.work.workflow.refusing import not_begun

Around = Callable[[Mapping[str, Any], str | None], Surroundings]
"""The caller's own settings, and the preset, to what a dispatch reads of files."""


class StepStarter:
    """One per coordinator."""

    def __init__(self, core: Core, around: Around) -> None:
        self._core, self._around = core, around
        self._preparer = StepPreparer(core)

    def start(self, workflow: Workflow, name: str) -> None:
        """Queue the run of a step that has its id. A refusal ends the step. UnavailableError: not now.

        Idempotent: where the step does not wait for that run any more, nothing happens.
        """
        with self._core.ports.ledger.transaction() as tx:
            steps = {step.name: step for step in rows.steps_of(tx, workflow.id)}
        step = steps[name]
        if step.state is not WorkflowStepState.STARTING:
            return
        try:
            self._queue(workflow, step, steps)
        except UnavailableError:
            raise
        except PancodeError as error:
            not_begun(self._core, step, error)

    def _queue(self, workflow: Workflow, step: WorkflowStep, steps: Mapping[str, WorkflowStep]) -> None:
        core, run = self._core, str(step.run)
        item: dict[str, Any] = dict(step.item)  # one of a lane is as whoever added it dispatches
        caller: dict[str, Any] = dict(item.get("caller") or workflow.caller)
        around = self._around(caller.get("settings") or {}, caller.get("preset"))
        request = replace(request_from(step.request, item.get("by") or workflow.created_by), cwd=workflow.cwd)
        if item:
            request = in_workspace(core, around, request)
        request = ask(core, around, request, None).request  # with its project
        # Its program may be that of its agent or of the settings: who runs it is known once it is resolved.
        resolved = dry_run(core, around, request).resolution
        prepared = self._preparer.prepare(workflow, step, steps, request, resolved)
        asked = ask(core, around, prepared.request, None)
        judged = decided(core.lists, core.lock, lambda: passed(core, around, asked))
        snapshot = dispatch.take(core, judged.resolution, run)
        snapshot, terms = self._preparer.furnished(step, prepared, snapshot)
        prepared = replace(prepared, terms=terms)
        if snapshot is not None:
            asked = replace(asked, request=replace(asked.request, repo=snapshot.repo))
        decided(core.lists, core.lock, lambda: self._written(step, (asked, around), prepared, snapshot))

    def _written(
        self,
        step: WorkflowStep,
        what: tuple[AskedDispatch, Surroundings],
        prepared: PreparedWork,
        snapshot: SnapshotTaken | None,
    ) -> None:
        """The run and the step's new state in one transaction, judged as things are now."""
        core, (asked, around) = self._core, what
        judged = passed(core, around, asked)
        runtime = judged.resolution.runtime
        if runtime.own and prepared.runtime not in (None, runtime.name):
            raise _became_a_script(step)
        with unit_of_work(core) as work:
            now = work.tx.get(WorkflowStep, step.workflow, step.number)
            if now is None or not rows.is_starting(now, str(step.run)):
                return  # stopped meanwhile
            if rows.is_back(work.tx, now):
                return rows.put_steps(work, rows.taken_back(now))
            run = run_in(
                core, judged.resolution, now, (str(step.run), snapshot), held=False, batch=prepared.batch
            )
            run = replace(run, terms={**run.terms, **prepared.terms}, retry_of=now.lost or run.retry_of)
            put_in_queue(work, run, judged.verdicts)
            begun = replace(now, state=WorkflowStepState.RUNNING, started_ms=core.wall_ms())
            rows.put_steps(work, replace(begun, reason="", lost=None, begins_ms=None))


def _became_a_script(step: WorkflowStep) -> RefusedError:
    """The agent was chosen by the filled task, or the settings have changed meanwhile."""
    return RefusedError(
        f"{step.name} was prepared for an agent, and is a script now",
        why="its task may have words of an agent in it",
        fix="name the step's agent or runtime",
        code="stranger_words",
    )
