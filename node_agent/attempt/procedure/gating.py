"""From `committed` to `gated`: the node runs the gates on the result, and its score command."""

from __future__ import annotations

from typing import assert_never

from node_agent.attempt.markdata import GatedData
from node_agent.attempt.plans import SCORE, gates_plan
from node_agent.attempt.ports import StepFailed
from node_agent.attempt.procedure.context import Case, Turn, Wait
from node_agent.attempt.procedure.gates_left import changed_by_gates, reported
from node_agent.attempt.procedure.starting import runner_fault
from node_agent.attempt.procedure.working import CUT_OFF, end_process
from node_agent.attempt.scoring import LAST, NoScoreError, score_of
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
from node_agent.wire.identity import Mark
from node_agent.wire.order import Gate
from node_agent.wire.receipt import GateResult


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
        case.context.workspaces.clear_reports(case.identity, case.order.reports)
        case.context.runner.start(case.gates, plan)
    except StepFailed as failed:
        return case.mark(Mark.GATED, Fault(failed.kind, str(failed)))
    except RunnerError as failed:
        case.context.runner.stop(case.gates, "the start failed")
        return case.mark(Mark.GATED, runner_fault(failed))
    return Wait("gates are running", case.context.tempo.look_ms, case.gates)


def _gated(case: Case, record: ExitRecord) -> Turn:
    results = gate_results(case.order.gates, record)
    findings = changed_by_gates(case)
    data = GatedData(gates=[one.model_dump(mode="json") for one in results], findings=findings)
    if case.order.score is not None:
        data |= _scored(case, record, findings)
    if case.order.reports:
        data["reports"] = reported(case)
    words = [Finding(level="warning", text=text) for text in findings]
    return case.mark(Mark.GATED, gate_fault(record, results, case.entry.stop, case.limits), data, *words)


def gate_results(gates: tuple[Gate, ...], record: ExitRecord) -> list[GateResult]:
    """One result per gate; those that never ran are not named."""
    return [_gate_result(gates[step.index], step) for step in record.steps if step.index < len(gates)]


def _scored(case: Case, record: ExitRecord, findings: list[str]) -> GatedData:
    """A result without a number is none that failed: it can win no race by it."""
    output = case.context.runner.tail(case.folder / SCORE, -LAST, LAST)
    try:
        return GatedData(score=score_of(record, len(case.order.gates), output))
    except NoScoreError as why:
        return GatedData(findings=[*findings, case.cleaner()(f"no score: {why}")])


def _gate_result(gate: Gate, step: StepRecord) -> GateResult:
    return GateResult(
        name=gate.name,
        argv=gate.argv,
        passed=step.ok,
        exit_code=step.exit_code,
        signal=step.signal if step.ended_by is StepEndedBy.NONE or step.signal else None,
        duration_ms=max(0, step.ended_mono_ms - step.began_mono_ms),
    )
