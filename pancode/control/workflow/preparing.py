"""Prepares the work of a step: its task with what earlier steps have left, and where its workspace begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pancode.control.core import Core
from pancode.control.workflow.results import SHELL, StepResults
from pancode.domain.records import Run, RunTerms, Workflow, WorkflowStep
from pancode.domain.request import Beginning, DispatchRequest
from pancode.domain.runtimes import RuntimeKind
from pancode.domain.values import replace
from pancode.domain.workflow.handing import FOLDER, check_script, handed, verdict_front
from pancode.domain.workflow.outputs import result_commit
from pancode.domain.workflow.plan import IN_ORDER, ancestors
from pancode.domain.workflow.rounds import judge_of
from pancode.domain.workflow.template import places
from pancode.ports import Composition


@dataclass(frozen=True, slots=True)
class PreparedWork:
    """The request to dispatch, and the terms that its run keeps."""

    request: DispatchRequest
    terms: RunTerms = field(default_factory=RunTerms)
    runtime: str | None = None
    """Which program its task was filled for; None: any, the task is a person's own."""


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
        runtime: RuntimeKind,
    ) -> PreparedWork:
        """`request` has its project. MergeConflictError, WorkspaceError, RefusedError."""
        if workflow.kind not in IN_ORDER:
            return PreparedWork(request)
        if runtime.name == SHELL:
            check_script(step)
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
        sides = self._sides(step, runs, begins_round=judge is not None) if has_files else {}
        if not sides:
            return PreparedWork(request, runtime=runtime.name)
        files = dict(work.files)
        if judge is not None:
            files[f"{FOLDER}/verdict.json"] = json.dumps(judge.outputs.get("verdict"), indent=2).encode()
        return replace(self._composed(step, request, sides, files), runtime=runtime.name)

    def _runs(self, steps: Mapping[str, WorkflowStep]) -> dict[str, Run]:
        """The newest run of each; all of these steps are done."""
        with self._core.ports.ledger.transaction() as tx:
            found = {name: tx.get(Run, str(step.run)) for name, step in steps.items()}
        return {name: run for name, run in found.items() if run is not None}

    def _sides(self, step: WorkflowStep, runs: Mapping[str, Run], *, begins_round: bool) -> dict[str, Run]:
        """The runs whose results the step begins from: its own last in a later round, else its needs."""
        if begins_round and len(step.runs) > 1:
            with self._core.ports.ledger.transaction() as tx:
                own = tx.get(Run, step.runs[-2])
            if own is not None and result_commit(own) is not None:
                return {step.name: own}
        return {name: runs[name] for name in step.needs if result_commit(runs[name]) is not None}

    def _composed(
        self,
        step: WorkflowStep,
        request: DispatchRequest,
        sides: Mapping[str, Run],
        files: dict[str, bytes],
    ) -> PreparedWork:
        first = next(iter(sides.values()))
        workspace, base = first.workspace, first.workspace.get("base")
        repo, origin = str(workspace["repo"]), str(first.terms.get("origin") or workspace["snapshot"])
        base = None if base is None else str(base)
        wanted = Composition(
            repo=repo,
            run=str(step.run),
            base=base,
            origin=origin,
            results={name: str(result_commit(run)) for name, run in sides.items()},
            files=files,
            folder=FOLDER,
            without=(str(step.verdict["file"]),) if step.verdict else (),
        )
        made = self._core.ports.depot.compose(wanted)
        begins = Beginning(first.id, repo, made.snapshot, base, str(workspace.get("object_format") or "sha1"))
        return PreparedWork(replace(request, begins=begins), {"origin": made.origin})
