"""Prepares the work of a step: its task with what earlier steps have left, and where its workspace begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from node_agent.wire.failure import Outcome
from node_agent.wire.policy import Rules
from pancode.agents.request import Beginning, DispatchRequest
from pancode.agents.runtimes import RuntimeKind
from pancode.control.core import Core
from pancode.core.ports import Composition, EarlierResult, SnapshotTaken
from pancode.core.records import Run, RunTerms, Workflow, WorkflowKind, WorkflowStep
from pancode.core.values import replace
from pancode.dispatch.resolve import Resolution
from pancode.dispatch.showing import change_shown, furnished, origin_of
from pancode.runs.history import answer_of
from pancode.work.workflow.results import StepResults
from pancode.workflow import lane, lineage
from pancode.workflow.handing import FOLDER, check_script, handed, lane_back, verdict_front
from pancode.workflow.outputs import result_commit
from pancode.workflow.plan import IN_ORDER, ancestors
from pancode.workflow.rounds import begins_later_round, judge_of
from pancode.workflow.template import places


@dataclass(frozen=True, slots=True)
class PreparedWork:
    """The request to dispatch, and the terms that its run keeps."""

    request: DispatchRequest
    terms: RunTerms = field(default_factory=RunTerms)
    runtime: str | None = None
    """Which program its task was filled for; None: any, the task is a person's own."""
    batch: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Still to be put into its snapshot."""


class StepPreparer:
    """Reads the ledger and the depot; makes commits in the depot, and nothing else."""

    def __init__(self, core: Core) -> None:
        self._core, self._results = core, StepResults(core)

    def prepare(
        self,
        workflow: Workflow,
        step: WorkflowStep,
        steps: Mapping[str, WorkflowStep],
        request: DispatchRequest,
        resolved: Resolution,
    ) -> PreparedWork:
        """`request` has its project. `resolved`: as it would be dispatched by its own words.

        MergeConflictError, WorkspaceError, RefusedError.
        """
        runtime = resolved.runtime
        if workflow.kind is WorkflowKind.LANE:
            return self._item(step, steps, request, runtime)
        if workflow.kind not in IN_ORDER:
            return PreparedWork(request, batch=workflow.kind is WorkflowKind.BATCH)
        if runtime.name == "shell":
            check_script(step.name, request.task, step.needs)
        before = ancestors(step.name, tuple(steps.values()))
        runs = self._runs({name: one for name, one in steps.items() if name in before})
        named = tuple(places(request.task))
        results = {name: self._results.result(steps[name], run, named) for name, run in runs.items()}
        judge = judge_of(steps, step)
        has_files = request.project is not None and request.workspace != "none"
        # A script cannot read what a judge has said; it is a file there.
        front = "" if runtime.own else verdict_front(step, judge)
        work = handed(step, workflow.input, results, front, has_files)
        request = replace(request, task=work.task)
        if not has_files:
            return PreparedWork(request, runtime=runtime.name)
        files = {**work.files, **self._changes(step, runs, resolved.rules)}
        if judge is not None:
            files[f"{FOLDER}/verdict.json"] = json.dumps(judge.outputs.get("verdict"), indent=2).encode()
        sides = self._sides(step, steps, runs)
        if not sides:
            return PreparedWork(request, runtime=runtime.name, files=files)
        wanted = replace(_wanted(step, steps, runs, sides, files), marked=bool(request.resolves))
        request = replace(request, resolves={})  # of a landing, its run would settle a conflict with files
        return replace(self._composed(request, wanted, tuple(sides.values())), runtime=runtime.name)

    def _changes(self, step: WorkflowStep, runs: Mapping[str, Run], rules: Rules) -> dict[str, bytes]:
        """The change of each step that it needs: who only reads the files cannot see what is new in them."""
        depot, needed = self._core.ports.depot, {name: runs[name] for name in step.needs if name in runs}
        shown = (change_shown(depot, run, name, rules) for name, run in needed.items())
        return {path: patch for one in shown for path, patch in one.items()}

    def _item(
        self,
        step: WorkflowStep,
        steps: Mapping[str, WorkflowStep],
        request: DispatchRequest,
        runtime: RuntimeKind,
    ) -> PreparedWork:
        """An item of a lane. Behind its task stands what the one before has left, unless it is a script."""
        before = lane.handed(tuple(steps.values()), step)
        if before is None or runtime.own or request.argv is not None:
            return PreparedWork(request, batch=True)
        with self._core.ports.ledger.transaction() as tx:
            run = tx.get(Run, str(before.run))
            left = answer_of(self._core, tx, run).strip() if run is not None else ""
        if run is None or not left:
            return PreparedWork(request, batch=True)
        task = f"{request.task}\n\n{lane_back(before, run.id, left)}"
        return PreparedWork(replace(request, task=task), runtime=runtime.name, batch=True)

    def furnished(
        self, step: WorkflowStep, prepared: PreparedWork, snapshot: SnapshotTaken | None
    ) -> tuple[SnapshotTaken | None, RunTerms]:
        """The snapshot of a step that goes on from no result, with what it is handed; and the run's terms."""
        if snapshot is None or not prepared.files:
            return snapshot, prepared.terms
        depot = self._core.ports.depot
        with_files, terms = furnished(depot, str(step.run), snapshot, prepared.files, _without(step))
        return with_files, {**prepared.terms, **terms}

    def _runs(self, steps: Mapping[str, WorkflowStep]) -> dict[str, Run]:
        """The newest run of each; all of these steps are done."""
        with self._core.ports.ledger.transaction() as tx:
            found = {name: tx.get(Run, str(step.run)) for name, step in steps.items()}
        return {name: run for name, run in found.items() if run is not None}

    def _sides(
        self, step: WorkflowStep, steps: Mapping[str, WorkflowStep], runs: Mapping[str, Run]
    ) -> dict[str, Run]:
        """The runs whose results the step begins from: its own last in a later round, else its needs."""
        own = self._last_done(step) if begins_later_round(steps, step) else None
        if own is not None and result_commit(own) is not None:
            return {step.name: own}
        return {name: runs[name] for name in lineage.sides(step.name, steps, _commits(runs))}

    def _last_done(self, step: WorkflowStep) -> Run | None:
        """Its newest run that is done: one of the same round may have failed, or was stopped."""
        with self._core.ports.ledger.transaction() as tx:
            found = (tx.get(Run, name) for name in reversed(step.runs))
            return next((run for run in found if run is not None and run.outcome is Outcome.DONE), None)

    def _composed(
        self, request: DispatchRequest, wanted: Composition, sides: tuple[Run, ...]
    ) -> PreparedWork:
        made, first = self._core.ports.depot.compose(wanted), sides[0]
        size = str(first.workspace.get("object_format") or "sha1")
        begins = Beginning(first.id, wanted.repo, made.snapshot, wanted.base, size)
        terms = RunTerms(origin=made.origin, takes=[run.id for run in sides])
        return PreparedWork(replace(request, begins=begins), terms)


def _commits(runs: Mapping[str, Run]) -> dict[str, str]:
    found = ((name, result_commit(run)) for name, run in runs.items())
    return {name: commit for name, commit in found if commit is not None}


def _without(step: WorkflowStep) -> tuple[str, ...]:
    """A verdict of before is none of this run."""
    return (str(step.verdict["file"]),) if step.verdict else ()


def _wanted(
    step: WorkflowStep,
    steps: Mapping[str, WorkflowStep],
    runs: Mapping[str, Run],
    sides: Mapping[str, Run],
    files: dict[str, bytes],
) -> Composition:
    first, commits = next(iter(sides.values())), _commits(runs)
    origins = {name: origin_of(run) for name, run in runs.items() if name in commits}
    base = first.workspace.get("base")
    before = lineage.history(step.name, steps, commits) if len(sides) > 1 else {}
    return Composition(
        repo=str(first.workspace["repo"]),
        run=str(step.run),
        base=None if base is None else str(base),
        origin=origin_of(first),
        results={name: str(result_commit(run)) for name, run in sides.items()},
        files=files,
        folder=FOLDER,
        without=_without(step),
        history={name: EarlierResult(commits[name], began) for name, began in before.items()},
        origins=origins,
    )
