"""Starts a step: prepares its task and its workspace, and dispatches it or records why it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from node_agent.wire.failure import Outcome
from node_agent.wire.policy import Rules
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError, with_fix
from pancode.kernel.ports import Composition, EarlierResult, MergeConflictError
from pancode.kernel.records import Run
from pancode.runs.admission.gates import UNTIL_MS
from pancode.runs.admission.gates.permission import BREAKER_OPEN
from pancode.runs.admission.given_changes import FOLDER, change_shown, lay_files, origin_of
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.planning import judge_again
from pancode.runs.core import Core, decide_locked
from pancode.runs.dispatch import add_snapshot, dry_run, make_plan, put_in_queue
from pancode.runs.facts import Lineage
from pancode.runs.receipts.trust import final_commit
from pancode.runs.request import TAKEN, Beginning, DispatchRequest, request_from
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Around
from pancode.workflows import store as rows
from pancode.workflows.model import IN_ORDER, find_ancestors, find_history, sides_of
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.workflows.results import StepResults
from pancode.workflows.rounds import CONFLICT, begins_later_round, judge_of
from pancode.workflows.rules import LONGEST_HOLD_MS
from pancode.workflows.service import at_its_place, run_in
from pancode.workflows.step_work import check_script, files_front, find_places, step_work, verdict_front

PASSES = frozenset({BREAKER_OPEN, "budget", "refused_budget", "refused_drain", TAKEN})
"""Codes of refusals that resolve themselves, so that an item of a lane waits."""
SHORTEST_HOLD_MS = 1_000
"""The minimum milliseconds until a step that waits for a circuit breaker is checked again."""
AGAIN_MS = 60_000
"""Milliseconds after which an item refused by a budget ceiling is checked again, as there may be room."""


def not_begun(core: Core, step: WorkflowStep, error: PancodeError) -> None:
    """Record that the step's run did not start, if the step still waits for that run."""
    with unit_of_work(core) as work:
        now = work.tx.get(WorkflowStep, step.workflow, step.number)
        if now is None or not rows.is_starting(now, str(step.run)):
            return
        waits = error.code in (BREAKER_OPEN, TAKEN) or (bool(now.item) and error.code in PASSES)
        after = _hold_step if waits else _refuse_step
        rows.put_steps(work, replace(after(now, error, core.wall_ms()), run=None, runs=now.runs[:-1]))


def _hold_step(step: WorkflowStep, error: PancodeError, now_ms: int) -> WorkflowStep:
    """Return the step as waiting until its next check, because a circuit breaker is open or its workspace is
    in use. An item of a lane also waits for room in a budget."""
    shortest = SHORTEST_HOLD_MS if error.code == BREAKER_OPEN else AGAIN_MS
    until = max(int(error.details.get(UNTIL_MS) or 0), now_ms + shortest)
    begins_ms = min(until, now_ms + LONGEST_HOLD_MS)
    return replace(
        step,
        state=WorkflowStepState.WAITING,
        reason=f"waits: {with_fix(error.words, error.fix)}",
        begins_ms=begins_ms,
    )


def _refuse_step(step: WorkflowStep, error: PancodeError, now_ms: int) -> WorkflowStep:
    """Return the step as ended, with the whole error text: it was not admitted or has no workspace."""
    if isinstance(error, MergeConflictError) and not step.request.get("resolves"):
        error.fix = f"let an agent resolve the conflict: pancode workflow resume {step.workflow} --resolve"
    over = replace(
        step, state=WorkflowStepState.REFUSED, reason=with_fix(error.words, error.fix), finished_ms=now_ms
    )
    if not isinstance(error, MergeConflictError):
        return over
    files = error.details.get("files", "").splitlines()
    return replace(over, state=WorkflowStepState.FAILED, outputs={**step.outputs, CONFLICT: files})


@dataclass(frozen=True, slots=True)
class PreparedWork:
    """The request to dispatch for a step, and the commits and files from which its run starts."""

    request: DispatchRequest
    origin: str = ""
    """The snapshot from which the run's change is counted; empty: the one from which the run starts."""
    takes: tuple[str, ...] = ()
    """The runs from whose results this run starts, if there are several."""
    runtime: str | None = None
    """The runtime for which the task was filled in; None: any, because the user wrote the whole task."""
    batch: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files that must still be added to the run's snapshot."""


class StepPreparer:
    """Prepares the dispatch of steps. It reads the ledger and depot, and writes only commits to the depot."""

    def __init__(self, core: Core) -> None:
        self._core, self._results = core, StepResults(core)

    def prepare(
        self,
        workflow: Workflow,
        step: WorkflowStep,
        steps: Mapping[str, WorkflowStep],
        request: DispatchRequest,
        resolved: Plan,
    ) -> PreparedWork:
        """Prepare the step's dispatch. `request` contains its project. `resolved`: the plan made without
        results of earlier steps. MergeConflictError, WorkspaceError, RefusedError."""
        runtime = resolved.runtime
        if workflow.kind is WorkflowKind.LANE:
            return PreparedWork(replace(request, lane=workflow.id), batch=True)
        if workflow.kind not in IN_ORDER:
            return PreparedWork(request, batch=workflow.kind is WorkflowKind.BATCH)
        if runtime.name == "shell":
            check_script(step.name, request.task, step.needs)
        before = find_ancestors(step.name, tuple(steps.values()))
        runs = self._find_runs({name: one for name, one in steps.items() if name in before})
        named = tuple(find_places(request.task))
        results = {name: self._results.result(steps[name], run, named) for name, run in runs.items()}
        judge = judge_of(steps, step)
        # Files added for a step in a workspace would stay in the workspace and land, so the step gets only
        # the workspace's files.
        has_files = request.project is not None and request.workspace != "none" and not request.in_workspace
        # A script cannot read a judge's verdict in its task, so it gets the verdict as a file.
        front = "" if runtime.own else verdict_front(step, judge)
        work = step_work(step, workflow.input, results, front, has_files)
        left = request.task.removeprefix(str(step.request["task"])) if request.in_workspace else ""
        # Keep the last messages that users sent to that run.
        request = replace(request, task=f"{work.task}{left}")
        if not has_files:
            return PreparedWork(request, runtime=runtime.name)
        files = {**work.files, **self._list_changes(step, runs, resolved.rules)}
        if judge is not None:
            files[f"{FOLDER}/verdict.json"] = json.dumps(judge.outputs.get("verdict"), indent=2).encode()
        if not runtime.own:
            request = replace(request, task=f"{request.task}{files_front(request.task, files)}")
        sides = self._find_sides(step, steps, runs)
        if not sides:
            return PreparedWork(request, runtime=runtime.name, files=files)
        wanted = replace(_make_composition(step, steps, runs, sides, files), marked=bool(request.resolves))
        # The request may come from a landing, whose run would resolve a conflict with files.
        request = replace(request, resolves={})
        return replace(self._compose_work(request, wanted, tuple(sides.values())), runtime=runtime.name)

    def _list_changes(self, step: WorkflowStep, runs: Mapping[str, Run], rules: Rules) -> dict[str, bytes]:
        """Return each needed step's change as a file, for agents that only read and so cannot run a diff."""
        depot, needed = self._core.ports.depot, {name: runs[name] for name in step.needs if name in runs}
        shown = (change_shown(depot, run, name, rules) for name, run in needed.items())
        return {path: patch for one in shown for path, patch in one.items()}

    def furnish(self, step: WorkflowStep, prepared: PreparedWork, plan: Plan) -> Plan:
        """Return the plan with the step's files in the snapshot, for a step that continues from no result."""
        if plan.snapshot is None or not prepared.files:
            return plan
        depot, run = self._core.ports.depot, str(step.run)
        laid = lay_files(depot, run, plan.snapshot, prepared.files, _list_excluded(step))
        return replace(plan, snapshot=laid.snapshot, inputs=(laid,))

    def _find_runs(self, steps: Mapping[str, WorkflowStep]) -> dict[str, Run]:
        """Return the newest run of each of these steps, all of which are done."""
        with self._core.ports.ledger.transaction() as tx:
            found = {name: tx.get(Run, str(step.run)) for name, step in steps.items()}
        return {name: run for name, run in found.items() if run is not None}

    def _find_sides(
        self, step: WorkflowStep, steps: Mapping[str, WorkflowStep], runs: Mapping[str, Run]
    ) -> dict[str, Run]:
        """Return the runs from whose results the step starts: in a later round its own last run, else the
        runs of its needs."""
        own = self._last_done(step) if begins_later_round(steps, step) else None
        if own is not None and final_commit(own) is not None:
            return {step.name: own}
        return {name: runs[name] for name in sides_of(step.name, steps, _list_commits(runs))}

    def _last_done(self, step: WorkflowStep) -> Run | None:
        """Return the step's newest successful run; a newer run of the same round may have failed."""
        with self._core.ports.ledger.transaction() as tx:
            found = (tx.get(Run, name) for name in reversed(step.runs))
            return next((run for run in found if run is not None and run.outcome is Outcome.DONE), None)

    def _compose_work(
        self, request: DispatchRequest, wanted: Composition, sides: tuple[Run, ...]
    ) -> PreparedWork:
        made, first = self._core.ports.depot.compose(wanted), sides[0]
        size = str(first.workspace.get("object_format") or "sha1")
        begins = Beginning(first.id, wanted.repo, made.snapshot, wanted.base, size)
        return PreparedWork(replace(request, begins=begins), made.origin, tuple(run.id for run in sides))


def _list_commits(runs: Mapping[str, Run]) -> dict[str, str]:
    found = ((name, final_commit(run)) for name, run in runs.items())
    return {name: commit for name, commit in found if commit is not None}


def _list_excluded(step: WorkflowStep) -> tuple[str, ...]:
    """Return the file with an earlier verdict, which must not count as the new run's verdict."""
    return (str(step.verdict["file"]),) if step.verdict else ()


def _make_composition(
    step: WorkflowStep,
    steps: Mapping[str, WorkflowStep],
    runs: Mapping[str, Run],
    sides: Mapping[str, Run],
    files: dict[str, bytes],
) -> Composition:
    first, commits = next(iter(sides.values())), _list_commits(runs)
    origins = {name: origin_of(run) for name, run in runs.items() if name in commits}
    base = first.workspace.get("base")
    before = find_history(step.name, steps, commits) if len(sides) > 1 else {}
    return Composition(
        repo=str(first.workspace["repo"]),
        run=str(step.run),
        base=None if base is None else str(base),
        origin=origin_of(first),
        results={name: str(final_commit(run)) for name, run in sides.items()},
        files=files,
        folder=FOLDER,
        without=_list_excluded(step),
        history={name: EarlierResult(commits[name], began) for name, began in before.items()},
        origins=origins,
    )


class StepStarter:
    """Queues the runs of steps; one per coordinator."""

    def __init__(self, core: Core, around: Around) -> None:
        self._core, self._around = core, around
        self._preparer = StepPreparer(core)

    def start(self, workflow: Workflow, name: str) -> None:
        """Queue the run of a step that has been assigned a run id. A refusal ends the step. UnavailableError
        if the caller must retry. Idempotent: does nothing if the step no longer waits for that run."""
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
        # An item of a lane is dispatched with the settings of the user who added it.
        item: dict[str, Any] = dict(step.item)
        caller: dict[str, Any] = dict(item.get("caller") or workflow.caller)
        around = self._around(caller.get("settings") or {}, caller.get("preset"))
        with core.ports.ledger.transaction() as tx:
            rows.must_have_its_token(tx, workflow, step)
        request = replace(request_from(step.request, item.get("by") or workflow.created_by), cwd=workflow.cwd)
        request = at_its_place(core, around, request, workflow.cwd)
        # The agent or settings may determine the program, so it is known only after resolving the request.
        resolved = dry_run(core, around, request)
        prepared = self._preparer.prepare(workflow, step, steps, request, resolved)
        plan = make_plan(core, around, prepared.request)
        if plan.runtime.own and prepared.runtime not in (None, plan.runtime.name):
            # The filled-in task led to another agent, or the settings have changed.
            raise RefusedError(
                f"step {step.name} was prepared for an agent, but is now a script",
                why="the step's task may contain text from an agent, and a shell would run that text",
                fix="set the agent or runtime of the step",
                code="stranger_words",
            )
        plan = self._preparer.furnish(step, prepared, add_snapshot(core, plan, run))
        decide_locked(
            core.lists, core.lock, lambda: self._write_step(step, judge_again(core, plan), prepared)
        )

    def _write_step(self, step: WorkflowStep, plan: Plan, prepared: PreparedWork) -> None:
        """Write the run and the step's new state in one transaction."""
        core = self._core
        with unit_of_work(core) as work:
            now = work.tx.get(WorkflowStep, step.workflow, step.number)
            if now is None or not rows.is_starting(now, str(step.run)):
                return  # The step was stopped in the meantime.
            if rows.is_back(work.tx, now):
                return rows.put_steps(work, rows.taken_back(now))
            run = run_in(core, plan, now, str(step.run), held=False, batch=prepared.batch)
            if prepared.origin:
                run = replace(Lineage.of(run), origin=prepared.origin, takes=prepared.takes).on(run)
            run = replace(run, retry_of=now.lost or run.retry_of)
            put_in_queue(work, run, plan)
            begun = replace(now, state=WorkflowStepState.RUNNING, started_ms=core.wall_ms())
            rows.put_steps(work, replace(begun, reason="", lost=None, begins_ms=None))
