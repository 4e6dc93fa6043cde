"""Reads the results of a workflow's steps: answers, files and verdicts, and which runs must be landed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pancode.git.conflict_markers import has_markers
from pancode.kernel.errors import WorkspaceError
from pancode.kernel.records import Run
from pancode.runs.core import Core
from pancode.runs.facts import Lineage
from pancode.runs.receipts.answer import whole_answer
from pancode.runs.receipts.trust import final_commit
from pancode.runs.views import walk_previous
from pancode.workflows.model import find_ancestors
from pancode.workflows.records import Workflow, WorkflowStep, WorkflowStepState
from pancode.workflows.rounds import conflict_of
from pancode.workflows.step_work import (
    MOST_FILE,
    MOST_VERDICT,
    StepResult,
    TemplatePlace,
    kept_files,
    verdict_of,
)


def results_of(
    workflow: Workflow, steps: Sequence[WorkflowStep], runs: Mapping[str, Run], *, anyway: bool = False
) -> tuple[str, ...]:
    """Return the ids of the runs with the results of a workflow, in the order of its steps.

    `runs`: each step's newest run, and the earlier runs of the step that it continues.

    The result of a race is the winner's. Otherwise a step's result counts if the step changed files and all
    steps after it are done without changing any, as the last step that changes files has all changes. Of a
    workflow that failed, the last step that changed files counts, too, for `anyway`.
    """
    changed = {step.name for step in steps if _has_work(step, runs)}
    if workflow.race:
        return tuple(str(step.run) for step in steps if step.name == workflow.winner and step.name in changed)
    left_out = set[str]()
    for step in steps:
        is_done = anyway or step.state is WorkflowStepState.DONE
        if step.needs and (step.name in changed or not is_done):
            left_out |= find_ancestors(step.name, steps)
    return tuple(str(step.run) for step in steps if step.name in changed - left_out)


def _has_work(step: WorkflowStep, runs: Mapping[str, Run]) -> bool:
    """Whether the step changed a file other than its verdict, because a verdict is not work of its own."""
    run, verdict = runs.get(str(step.run)), step.verdict.get("file")
    while run is not None:
        files = run.result.get("files_changed")
        named = files if isinstance(files, list | tuple) else ()
        if run.result.get("commit") is not None and (verdict is None or any(n != verdict for n in named)):
            return True
        run = runs.get(Lineage.of(run).continues or "")
    return False


class StepResults:
    """Reads the results of successful runs, without writing anything."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def result(self, step: WorkflowStep, run: Run, places: Iterable[TemplatePlace]) -> StepResult:
        """Return the whole answer, the commit, and files that a task's placeholders name. WorkspaceError."""
        names = {place.path for place in places if place.step == step.name and place.path}
        files = {name: self._text(step, run, name) for name in sorted(names)}
        with self._core.ports.ledger.transaction() as tx:
            answer = whole_answer(self._core, tx, run)
        return StepResult(answer, final_commit(run) or "", files)

    def outputs(self, step: WorkflowStep, run: Run) -> dict[str, object]:
        """Return the run's outputs for its step; the text `problem` says what is missing or invalid."""
        depot, commit = self._core.ports.depot, final_commit(run)
        made: dict[str, object] = {"of": run.id}
        if commit is None:
            return {
                **made,
                "problem": "missing output: the run worked in an empty directory, so no files are kept",
            }
        repo, problem = str(run.workspace["repo"]), ""
        if step.files:
            made["files"], problem = kept_files(step, depot.file_names(repo, commit))
        if step.verdict:
            made["verdict"], wrong = self._read_verdict(step, run, commit)
            problem = problem or wrong
        problem = problem or self._find_unsettled(step, run, commit)
        return {**made, "problem": problem} if problem else made

    def _find_unsettled(self, step: WorkflowStep, run: Run, commit: str) -> str:
        """Return text on the first conflicting file that the step has not resolved; empty if none."""
        depot, repo = self._core.ports.depot, str(run.workspace["repo"])
        commits = (self._find_snapshot(run), Lineage.of(run).origin, commit)
        for name in conflict_of(step):
            marked, ours, now = (
                depot.read_file(repo, str(one), name, MOST_FILE) if one else None for one in commits
            )
            if marked is not None and marked == now:
                return f"conflict not resolved: {name} is unchanged since the conflict began"
            if marked and now and has_markers(marked, ours or b"", now):
                return f"conflict not resolved: {name} still has conflict markers"
        return ""

    def _read_verdict(self, step: WorkflowStep, run: Run, commit: str) -> tuple[dict[str, object], str]:
        """Return the run's verdict, or a problem. A file from before the run is not a verdict on its work."""
        depot, repo, name = self._core.ports.depot, str(run.workspace["repo"]), str(step.verdict["file"])
        data, began = depot.read_file(repo, commit, name, MOST_VERDICT), self._find_snapshot(run)
        old = depot.read_file(repo, began, name, MOST_VERDICT) if isinstance(began, str) else None
        if data is not None and data == old:
            return {}, f"no verdict: this run did not write {name}, which existed when it started"
        return verdict_of(step, data)

    def lines(self, run: Run) -> int:
        """Return the number of lines that the run's change adds and removes."""
        old, new = self._find_snapshot(run), final_commit(run)
        if not isinstance(old, str) or new is None:
            return 0
        return self._core.ports.depot.lines_changed(str(run.workspace["repo"]), old, new)

    def _find_snapshot(self, run: Run) -> object:
        """Return the snapshot from which the work started; for a run that answers a question, that of the run
        that asked."""
        with self._core.ports.ledger.transaction() as tx:
            for old in walk_previous(tx, run):
                if (old.workflow, old.step) != (run.workflow, run.step):
                    break
                run = old
        return run.workspace.get("snapshot")

    def score(self, run: Run) -> str:
        """Return the score from the receipt. WorkspaceError if the run has none, or if an older node agent
        computed it among the files of the agent that it judges."""
        found = run.result.get("score")
        if isinstance(found, str) and run.result.get("commit") and run.result.get("gates_on") != "result":
            why = "its node agent is older and computed the score among the agent's own files"
            raise WorkspaceError("no score", why=why, fix=f"pancode fleet up {run.node}", code="no_score")
        if isinstance(found, str):
            return found
        findings = run.result.get("findings")
        lines = (
            [str(one).removeprefix("no score: ") for one in findings if "score" in str(one)]
            if isinstance(findings, list | tuple)
            else []
        )
        fix = f"see: pancode logs --stream score {run.id}"
        raise WorkspaceError("no score", why="; ".join(lines), fix=fix, code="no_score")

    def _text(self, step: WorkflowStep, run: Run, path: str) -> str:
        commit = final_commit(run)
        repo = str(run.workspace.get("repo"))
        found = None if commit is None else self._core.ports.depot.read_file(repo, commit, path, MOST_FILE)
        if found is None:
            raise WorkspaceError(
                f"missing output: the result of {step.name} does not contain {path}",
                why=f"the file does not exist, or is larger than {MOST_FILE} bytes",
                fix=f"see: pancode diff {run.id}",
                code="missing_output",
            )
        return found.decode(errors="replace")
