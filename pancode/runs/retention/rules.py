"""Decides what of an ended run may go: its commits and its logs, once nobody needs them and they are old."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pancode.kernel.records import Run, RunState, Workflow, WorkflowState
from pancode.runs.receipts.trust import is_open
from pancode.runs.retention.parts import RunFiles

DAY_MS = 86_400_000
_GOES_ON = (WorkflowState.RUNNING, WorkflowState.STOPPING)


@dataclass(frozen=True, slots=True)
class KeepRules:
    """How long the files of a run stay after its end, in milliseconds.

    `undecided_ms`: commits that nobody has landed, denied or dropped; None: until somebody has.
    `sessions_ms`: a session unused for so long counts as ended. `logs_bytes`: the most bytes of all logs;
    beyond it the oldest go, of those that may go at all.
    """

    changes_ms: int = 30 * DAY_MS
    logs_ms: int = 90 * DAY_MS
    undecided_ms: int | None = None
    sessions_ms: int = 90 * DAY_MS
    logs_bytes: int = 20 << 30


class FilesNeed(StrEnum):
    """Why the files of a run stay, whatever their age."""

    AT_WORK = "it has not ended"
    SESSION = "its session was neither ended nor left for long: pancode sessions end"
    WORKFLOW = "its workflow goes on"
    WORKSPACE = "a workspace stands on it: pancode workspace rm"
    LANDING = "it waits to be landed"
    DECISION = "nobody has decided about its change: pancode review"


@dataclass(frozen=True, slots=True)
class RunBeside:
    """What else may need the files of a run. `is_result`: it is its workflow's result, or has no workflow.

    `session_used_ms`: when its session, if nobody has ended it, was last at work; None: no such session.
    """

    session_used_ms: int | None = None
    workflow: Workflow | None = None
    in_workspace: bool = False
    lands: bool = False
    is_result: bool = True


def need_of(run: Run, beside: RunBeside, rules: KeepRules, now_ms: int) -> FilesNeed | None:
    """Why the files of the run must stay; None: nothing needs them."""
    if run.state is not RunState.ENDED:
        return FilesNeed.AT_WORK
    if beside.session_used_ms is not None and now_ms - beside.session_used_ms < rules.sessions_ms:
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
    """Which files of the run may go now."""
    ended_ms = may_go_at_ms(run, need)
    if ended_ms is None:
        return frozenset()
    age = now_ms - ended_ms
    changes = rules.changes_ms if need is None else rules.undecided_ms
    going = {RunFiles.CHANGES} if changes is not None and age >= changes else set()
    if age >= rules.logs_ms and (need is None or going):
        going.add(RunFiles.LOGS)
    return frozenset(going)


def may_go_at_ms(run: Run, need: FilesNeed | None) -> int | None:
    """When the run ended, if its files may go once they are old; None: they stay, whatever their age."""
    return run.finished_ms if need in (None, FilesNeed.DECISION) else None


@dataclass(frozen=True, slots=True)
class LogsOfRun:
    """The logs of a run that are still young enough to stay. `ended_ms` None: they stay whatever happens."""

    run: str
    size: int
    ended_ms: int | None


def beyond(logs: Iterable[LogsOfRun], most: int) -> list[str]:
    """The runs whose logs must go, oldest first, so that at most `most` bytes of logs are left."""
    known = list(logs)
    over, going = sum(one.size for one in known) - most, list[str]()
    for one in sorted(known, key=lambda one: one.ended_ms or 0):
        if over > 0 and one.ended_ms is not None:
            going.append(one.run)
            over -= one.size
    return going
