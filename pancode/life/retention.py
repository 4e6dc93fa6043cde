"""Decides what of an ended run may go: its commits and its logs, once nobody needs them and they are old."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pancode.core.records import Run, RunState, SessionRow, Workflow, WorkflowState
from pancode.life.verified import is_open

DAY_MS = 86_400_000
_GOES_ON = (WorkflowState.RUNNING, WorkflowState.STOPPING)


class RunFiles(StrEnum):
    """What is kept of a run beside its rows and its receipt, which stay."""

    CHANGES = "changes"
    """The commits in the depot: where it began, and its result."""
    LOGS = "logs"


@dataclass(frozen=True, slots=True)
class KeepRules:
    """For so long after the end of a run its files stay, in milliseconds.

    `undecided_ms`: commits that nobody has landed, denied or dropped; None: until somebody has.
    """

    changes_ms: int = 30 * DAY_MS
    logs_ms: int = 90 * DAY_MS
    undecided_ms: int | None = None


class FilesNeed(StrEnum):
    """Why the files of a run stay, whatever their age."""

    AT_WORK = "it has not ended"
    SESSION = "its session was not ended: pancode sessions end"
    WORKFLOW = "its workflow goes on"
    WORKSPACE = "a workspace stands on it: pancode workspace rm"
    LANDING = "it waits to be landed"
    DECISION = "nobody has decided about its change: pancode review"


@dataclass(frozen=True, slots=True)
class RunBeside:
    """What stands on the files of a run. `is_result`: its workflow's, or it has none."""

    session: SessionRow | None = None
    workflow: Workflow | None = None
    in_workspace: bool = False
    lands: bool = False
    is_result: bool = True


def need_of(run: Run, beside: RunBeside) -> FilesNeed | None:
    """None: nothing needs its files."""
    if run.state is not RunState.ENDED:
        return FilesNeed.AT_WORK
    if beside.session is not None and beside.session.closed_by is None:
        return FilesNeed.SESSION
    workflow = beside.workflow
    if workflow is not None and not workflow.lane and workflow.state in _GOES_ON:
        return FilesNeed.WORKFLOW
    if beside.in_workspace:
        return FilesNeed.WORKSPACE
    if beside.lands:
        return FilesNeed.LANDING
    if beside.is_result and is_open(run, run.project or ""):
        return FilesNeed.DECISION
    return None


def let_go(run: Run, need: FilesNeed | None, rules: KeepRules, now_ms: int) -> frozenset[RunFiles]:
    """Which of its files may go now."""
    if run.finished_ms is None or need not in (None, FilesNeed.DECISION):
        return frozenset()
    age = now_ms - run.finished_ms
    changes = rules.changes_ms if need is None else rules.undecided_ms
    going = {RunFiles.CHANGES} if changes is not None and age >= changes else set()
    if age >= rules.logs_ms and (need is None or going):
        going.add(RunFiles.LOGS)
    return frozenset(going)


def gone_at(run: Run, what: RunFiles) -> int | None:
    """When these files of it went, in milliseconds; None: they did not."""
    return run.terms.get("let_go", {}).get(what.value)
