"""Reads the results of a workflow's steps: answers, files and verdicts, and which runs must be landed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pancode.kernel.errors import WorkspaceError
from pancode.kernel.facets import Lineage
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.runs.core import Core
from pancode.runs.receipts.answer import whole_answer
from pancode.runs.receipts.trust import final_commit
from pancode.runs.retention.rules import FilesNeed
from pancode.runs.views import walk_previous
from pancode.workflows.model import find_ancestors
from pancode.workflows.records import Workflow, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.rounds import conflict_of
from pancode.workflows.rules import OPEN
from pancode.workflows.step_store import runs_of
from pancode.workflows.step_work import (
    MOST_FILE,
    MOST_VERDICT,
    StepResult,
    TemplatePlace,
    kept_files,
    verdict_of,
)

_OPENS, _CLOSES, _BETWEEN = (b"<<<<<<<", b"|||||||"), b">>>>>>>", b"======="


def has_markers(marked: bytes, ours: bytes, result: bytes) -> bool:
    """Whether `result` still has a conflict marker that the merge put into `marked`; `ours`: before the
    merge. Lines of seven such characters already in the file, such as heading underlines, do not count."""
    begun, own, left = (_count_labelled(text) for text in (marked, ours, result))
    made = set(begun) - set(own)
    if made & set(left):
        return True
    places = sum(begun[line] for line in made if line.startswith(_OPENS[0]))
    return bool(places) and _count_separators(result) > _count_separators(marked) - places


def _count_labelled(text: bytes) -> Counter[bytes]:
    return Counter(line for line in _split_lines(text) if line.startswith((*_OPENS, _CLOSES)))


def _count_separators(text: bytes) -> int:
    return sum(line == _BETWEEN for line in _split_lines(text))


def _split_lines(text: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in text.split(b"\n")]


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


def change_begins(core: Core, run: Run) -> str | None:
    """Return the commit from which the run's whole change is counted, including the earlier runs that it
    builds on.

    Changes that have landed, or that a restored checkpoint has undone, are not counted. Files composed from
    several results are counted from their common origin. None if the run had no repository.
    """
    first = run
    with core.ports.ledger.transaction() as tx:
        while not (lineage := Lineage.of(first)).origin or lineage.continues:
            old = tx.get(Run, lineage.begins)
            if old is None or old.landed is not None:
                break
            first = old
    # In a workflow, the commit is the one from which the workflow started.
    snapshot = lineage.origin or first.workspace.get("snapshot")
    return snapshot if isinstance(snapshot, str) else None


def change_of(core: Core, run: Run) -> tuple[Run, ...]:
    """Return the runs whose work is in this run's change, this run first; a landing covers all of them. Work
    that has landed or that a restored checkpoint has undone is left out."""
    found: dict[str, Run] = {}
    waiting = [run]
    with core.ports.ledger.transaction() as tx:
        while waiting:
            one = waiting.pop(0)
            if one.id in found or (one.landed is not None and one.id != run.id):
                continue
            found[one.id] = one
            waiting += _taken_by(tx, one)
    return tuple(found.values())


def _taken_by(tx: Transaction, run: Run) -> list[Run]:
    """Return the runs from whose results this run started. A retry starts from the same files as the old run,
    without the old run's work."""
    lineage = Lineage.of(run)
    names = lineage.takes or (lineage.begins,)
    olds = [old for name in names if (old := tx.get(Run, name)) is not None]
    same = [
        old
        for old in olds
        if run.retry_of == old.id and run.workspace.get("snapshot") == old.workspace.get("snapshot")
    ]
    return [one for old in olds for one in (_taken_by(tx, old) if old in same else [old])]


def is_the_result(tx: Transaction, run: Run) -> bool:
    """Whether the run's result is a result of its workflow; True for a run without a workflow."""
    workflow = tx.get(Workflow, run.workflow) if run.workflow is not None else None
    if workflow is None:
        return True
    steps = sorted(tx.find(WorkflowStep, {"workflow": workflow.id}), key=lambda step: step.number)
    return run.id in results_of(workflow, steps, runs_of(tx, steps))


def find_failed(tx: Transaction, run: Run) -> Workflow | None:
    """Return the run's workflow if it failed and the run has its newest change: no list may hide it."""
    workflow = tx.get(Workflow, run.workflow) if run.workflow is not None else None
    if workflow is None or workflow.state is not WorkflowState.FAILED:
        return None
    steps = sorted(tx.find(WorkflowStep, {"workflow": workflow.id}), key=lambda step: step.number)
    return workflow if run.id in results_of(workflow, steps, runs_of(tx, steps), anyway=True) else None


def find_need(tx: Transaction, run: Run) -> FilesNeed | None:
    """Return the need to keep files while the workflow continues, or None. An endless lane does not count."""
    workflow = tx.get(Workflow, run.workflow) if run.workflow is not None else None
    is_open = workflow is not None and not workflow.lane and workflow.state in OPEN
    return FilesNeed.WORKFLOW if is_open else None


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
