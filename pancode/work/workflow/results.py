"""Reads what the steps of a workflow have left: answers, files, verdicts, and how large a change is."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.control.core import Core
from pancode.control.run import before
from pancode.core.records import Run, WorkflowStep
from pancode.errors import WorkspaceError
from pancode.runs.history import answer_of
from pancode.work.workflow.settled import has_markers
from pancode.workflow.handing import StepResult
from pancode.workflow.outputs import MOST_FILE, MOST_VERDICT, kept_files, result_commit, verdict_of
from pancode.workflow.settling import conflict_of
from pancode.workflow.template import TemplatePlace


class StepResults:
    """Reads results of runs that are done; writes nothing."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def result(self, step: WorkflowStep, run: Run, places: Iterable[TemplatePlace]) -> StepResult:
        """The whole answer, the commit, and those files that a task names. WorkspaceError."""
        names = {place.path for place in places if place.step == step.name and place.path}
        files = {name: self._text(step, run, name) for name in sorted(names)}
        with self._core.ports.ledger.transaction() as tx:
            answer = answer_of(self._core, tx, run)
        return StepResult(answer, result_commit(run) or "", files)

    def outputs(self, step: WorkflowStep, run: Run) -> dict[str, object]:
        """The outputs of a step from this run; `problem` in words where something is missing or wrong."""
        depot, commit = self._core.ports.depot, result_commit(run)
        made: dict[str, object] = {"of": run.id}
        if commit is None:
            return {**made, "problem": "missing output: it worked in an empty folder, which leaves no file"}
        repo, problem = str(run.workspace["repo"]), ""
        if step.files:
            made["files"], problem = kept_files(step, depot.file_names(repo, commit))
        if step.verdict:
            made["verdict"], wrong = self._verdict(step, run, commit)
            problem = problem or wrong
        problem = problem or self._unsettled(step, run, commit)
        return {**made, "problem": problem} if problem else made

    def _unsettled(self, step: WorkflowStep, run: Run, commit: str) -> str:
        """The first file of the conflict that it was to settle and has not; empty: there is none."""
        depot, repo = self._core.ports.depot, str(run.workspace["repo"])
        commits = (self._began(run), run.terms.get("origin"), commit)
        for name in conflict_of(step):
            marked, ours, now = (
                depot.read_file(repo, str(one), name, MOST_FILE) if one else None for one in commits
            )
            if marked is not None and marked == now:
                return f"conflict not settled: {name} is as it was when the conflict began"
            if marked and now and has_markers(marked, ours or b"", now):
                return f"conflict not settled: {name} still has the markers of the conflict"
        return ""

    def _verdict(self, step: WorkflowStep, run: Run, commit: str) -> tuple[dict[str, object], str]:
        """The verdict of this run: a file that was there when it began says nothing about its work."""
        depot, repo, name = self._core.ports.depot, str(run.workspace["repo"]), str(step.verdict["file"])
        data, began = depot.read_file(repo, commit, name, MOST_VERDICT), self._began(run)
        old = depot.read_file(repo, began, name, MOST_VERDICT) if isinstance(began, str) else None
        if data is not None and data == old:
            return {}, f"no verdict: this run has not written {name}, which was there when it began"
        return verdict_of(step, data)

    def lines(self, run: Run) -> int:
        """Lines that its change adds and removes."""
        old, new = self._began(run), result_commit(run)
        if not isinstance(old, str) or new is None:
            return 0
        return self._core.ports.depot.lines_changed(str(run.workspace["repo"]), old, new)

    def _began(self, run: Run) -> object:
        """The snapshot at which the work began: before the question, where it goes on from one."""
        with self._core.ports.ledger.transaction() as tx:
            for old in before(tx, run):
                if (old.workflow, old.step) != (run.workflow, run.step):
                    break
                run = old
        return run.workspace.get("snapshot")

    def score(self, run: Run) -> str:
        """The number that its receipt has of the score command. WorkspaceError where it has none."""
        found = run.result.get("score")
        if isinstance(found, str):
            return found
        findings = run.result.get("findings")
        lines = (
            [str(one).removeprefix("no score: ") for one in findings if "score" in str(one)]
            if isinstance(findings, list | tuple)
            else []
        )
        fix = f"look: pancode runs logs --stream score {run.id}"
        raise WorkspaceError("no score", why="; ".join(lines), fix=fix, code="no_score")

    def _text(self, step: WorkflowStep, run: Run, path: str) -> str:
        commit = result_commit(run)
        repo = str(run.workspace.get("repo"))
        found = None if commit is None else self._core.ports.depot.read_file(repo, commit, path, MOST_FILE)
        if found is None:
            raise WorkspaceError(
                f"missing output: {path} is not in the result of {step.name}",
                why=f"it is not there, or has more than {MOST_FILE} bytes",
                fix=f"look: pancode runs diff {run.id}",
                code="missing_output",
            )
        return found.decode(errors="replace")
