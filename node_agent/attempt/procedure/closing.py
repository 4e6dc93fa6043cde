"""From `exited` to `committed`: the node makes the result commit, whatever the end was."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from node_agent.attempt.claims import MAX_NAMES, clipped
from node_agent.attempt.markdata import ChangeKind, CommittedData
from node_agent.attempt.ports import AttemptResult, StepFailed
from node_agent.attempt.procedure.context import Case, Turn
from node_agent.attempt.procedure.rules import judged_by_rules
from node_agent.attempt.procedure.working import CUT_OFF
from node_agent.attempt.verdict import (
    Fault,
)
from node_agent.shim.spool import (
    NotStarted,
)
from node_agent.wire.event import Finding
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import Mark

AS_FOUND = "the saved files may be empty or partly old"


def commit(case: Case) -> Turn:
    """exited → committed: whatever the end was, what the agent left is kept."""
    fault = case.fault
    if Mark.PREPARED not in case.entry.data and not case.entry.damaged:
        return case.mark(Mark.COMMITTED, fault, CommittedData(kind="none"))
    if case.order.setup and case.entry.baseline is None and not case.entry.damaged:
        kind: ChangeKind = "empty" if case.order.workspace.kind == "git" else "none"
        return case.mark(
            Mark.COMMITTED, fault, CommittedData(kind=kind)
        )  # the agent never ran: nothing is its own
    if case.was_prepared_before and isinstance(case.context.runner.look(case.work), NotStarted):
        return case.mark(
            Mark.COMMITTED, fault, CommittedData(kind="none")
        )  # its files are whatever the cut left
    if case.was_cut_off:
        return _cut_off(case, fault or Fault(FailureKind.NODE_REBOOTED, CUT_OFF))
    try:
        result = case.context.workspaces.commit(
            case.identity, case.order.workspace, case.stamp, case.entry.baseline
        )
    except StepFailed as failed:
        return _not_committed(case, fault or Fault(failed.kind, str(failed)), failed)
    clean, exposed = case.cleaner(), _exposed(case, result)
    names, _ = clipped(map(clean, result.files_changed[:MAX_NAMES]))
    judged, broken = judged_by_rules(case, result, fault)
    if judged is not None:
        judged = replace(judged, reason=clean(judged.reason))
    findings, _ = clipped(map(clean, (*broken, *result.warnings)))
    findings += exposed.findings
    left_out = len(result.files_changed) - len(names)
    if left_out:
        findings.append(f"{left_out} more files changed than are named here")
    data = CommittedData(
        kind=result.kind, commit=result.commit, files=names, findings=findings, exposed=exposed.pairs
    )
    return case.mark(Mark.COMMITTED, judged, data)


@dataclass(frozen=True, slots=True)
class _Exposed:
    """The secrets in the files of the result by name, and as a sentence; never a value."""

    pairs: list[list[str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def _exposed(case: Case, result: AttemptResult) -> _Exposed:
    hidden, clean = case.context.runtimes.hidden(case.order), case.cleaner()
    if result.commit is None or not hidden:
        return _Exposed()
    try:
        found = case.context.workspaces.exposed(case.identity, case.order.workspace, result.commit, hidden)
    except StepFailed as failed:
        return _Exposed(findings=[f"{failed}"[:1000]])
    pairs = [[name, clean(file)] for name, file in found]
    return _Exposed(
        pairs, [f"the value of {name}, a secret, is in {file} of the result" for name, file in pairs]
    )


def _not_committed(case: Case, fault: Fault, failed: StepFailed) -> Turn:
    """Puts its files aside, unless they filled the disk: then they go with the checkout."""
    full = failed.kind is FailureKind.DISK_FULL
    kept = ("its files are not kept: the disk is full",) if full else salvaged(case)
    findings = [f"no result commit could be made: {failed}"[:1000], *kept]
    words = [Finding(level="error", text=text) for text in findings]
    return case.mark(Mark.COMMITTED, fault, CommittedData(kind="none", findings=findings), *words)


def _cut_off(case: Case, fault: Fault) -> Turn:
    """A commit of files that a power cut has emptied would empty them for everybody: it is put aside."""
    findings = [f"no result commit was made: {CUT_OFF}; {AS_FOUND}", *salvaged(case)]
    words = [Finding(level="error", text=text) for text in findings]
    return case.mark(Mark.COMMITTED, fault, CommittedData(kind="none", findings=findings), *words)


def salvaged(case: Case) -> tuple[str, ...]:
    """Keep what can be kept; where, or why not, in words for a person."""
    try:
        return case.context.workspaces.salvage(
            case.identity, case.order.workspace, case.stamp, case.entry.baseline
        )
    except (StepFailed, OSError) as failed:
        return (f"its files could not be saved: {failed}"[:1000],)
