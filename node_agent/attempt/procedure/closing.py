"""From `exited` to `gated`: the node makes the result commit and runs the gates on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from node_agent.attempt.claims import MAX_NAMES, clipped, such_as
from node_agent.attempt.markdata import ChangeKind, CommittedData, GatedData
from node_agent.attempt.plans import gates_plan
from node_agent.attempt.ports import AttemptResult, StepFailed
from node_agent.attempt.procedure.context import Case, Turn, Wait
from node_agent.attempt.procedure.rules import judged_by_rules
from node_agent.attempt.procedure.starting import runner_fault
from node_agent.attempt.procedure.working import CUT_OFF, end_process
from node_agent.attempt.verdict import (
    Fault,
    gate_fault,
    stop_fault,
    vanished_fault,
)
from node_agent.shim.spool import (
    Ended,
    ExitRecord,
    NotStarted,
    RunnerError,
    Running,
    StepEndedBy,
    StepRecord,
    Vanished,
)
from node_agent.wire.event import Finding
from node_agent.wire.failure import FailureKind
from node_agent.wire.marks import Mark
from node_agent.wire.order import Gate
from node_agent.wire.receipt import GateResult

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


def gate(case: Case) -> Turn:
    """committed → gated. Each phase of the gates is started once."""
    fault, stop = case.fault, case.entry.stop
    if not case.is_gated(fault):
        return case.mark(Mark.GATED, fault)
    seen = case.context.runner.look(case.gates)
    match seen:
        case NotStarted():
            return _start_gates(case) if stop is None else case.mark(Mark.GATED, stop_fault(stop))
        case Running():
            if stop is not None:
                end_process(case, case.gates, stop.reason)
            return Wait("gates are running", case.context.tempo.look_ms, case.gates)
        case Ended(record):
            return _gated(case, record)
        case Vanished():
            case.context.runner.sweep(str(case.identity))
            return case.mark(Mark.GATED, vanished_fault(seen, stop))
        case _:
            assert_never(seen)


def _start_gates(case: Case) -> Turn:
    work = case.context.runner.planned(case.work)
    if work is None:
        return case.mark(Mark.GATED, Fault(FailureKind.NODE_INTERNAL, "the plan of the work is gone"))
    if case.was_cut_off:  # the commit is whole, the files that they would judge may be not
        return case.mark(Mark.GATED, Fault(FailureKind.NODE_REBOOTED, CUT_OFF))
    left = case.time_left()
    if left == 0:
        return case.mark(Mark.GATED, Fault(FailureKind.WALL_LIMIT, "no time was left for the gates"))
    plan = case.context.runner.planned(case.gates)
    try:
        plan = plan or case.enclosed(
            gates_plan(case.order, work, case.folder, case.context.tempo, left), work
        )
        case.context.workspaces.take_back(case.identity)
        case.context.runner.start(case.gates, plan)
    except StepFailed as failed:
        return case.mark(Mark.GATED, Fault(failed.kind, str(failed)))
    except RunnerError as failed:
        case.context.runner.stop(case.gates, "the start failed")
        return case.mark(Mark.GATED, runner_fault(failed))
    return Wait("gates are running", case.context.tempo.look_ms, case.gates)


def _gated(case: Case, record: ExitRecord) -> Turn:
    results = gate_results(case.order.gates, record)
    findings = _changed_by_gates(case)
    data = GatedData(gates=[one.model_dump(mode="json") for one in results], findings=findings)
    words = [Finding(level="warning", text=text) for text in findings]
    return case.mark(Mark.GATED, gate_fault(record, results, case.entry.stop, case.limits), data, *words)


def _changed_by_gates(case: Case) -> list[str]:
    committed = case.entry.committed
    commit = committed.get("commit") or case.order.workspace.snapshot
    if commit is None or committed["kind"] == "none":
        return []
    try:
        names, more = clipped(
            case.context.workspaces.changed_since(case.identity, commit, case.entry.baseline)
        )
    except StepFailed as failed:
        return [f"the changes of the gates could not be read: {failed}"[:1000]]
    told = such_as(list(map(case.cleaner(), names)), more)
    return [f"gates changed uncommitted files: {told}"] if names else []


def gate_results(gates: tuple[Gate, ...], record: ExitRecord) -> list[GateResult]:
    """One result per gate; those that never ran are not named."""
    return [_gate_result(gates[step.index], step) for step in record.steps]


def _gate_result(gate: Gate, step: StepRecord) -> GateResult:
    return GateResult(
        name=gate.name,
        argv=gate.argv,
        passed=step.ok,
        exit_code=step.exit_code,
        signal=step.signal if step.ended_by is StepEndedBy.NONE or step.signal else None,
        duration_ms=max(0, step.ended_mono_ms - step.began_mono_ms),
    )
