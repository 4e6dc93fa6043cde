"""From `spawned` to the agent's start: follows set-up, records its files, starts the agent once."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from node_agent.attempt.claims import NEVER_RAN
from node_agent.attempt.markdata import ExitedData
from node_agent.attempt.plans import SETUP_LOG
from node_agent.attempt.ports import StepFailed
from node_agent.attempt.procedure.context import Case, Progressed, Turn, Wait
from node_agent.attempt.procedure.starting import LAID_OUT_BEFORE, must_have_gates, reopen, runner_fault
from node_agent.attempt.procedure.working import CUT_OFF, end_process, follow
from node_agent.attempt.records import Note
from node_agent.attempt.verdict import Fault, setup_fault, stop_fault, vanished_fault
from node_agent.shim.spool import Ended, ExitRecord, NotStarted, PhasePlan, RunnerError, Running, Vanished
from node_agent.wire.event import Finding
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import Mark

LAST_BYTES, LAST_LINES, MOST_TOLD = 4_096, 3, 600


def attend(case: Case) -> Turn:
    """spawned → exited: set-up if there is one, then the agent. The baseline says that set-up is over."""
    if not case.order.setup or case.entry.damaged:
        return follow(case)
    if case.entry.baseline is None:
        return _setting_up(case)
    if isinstance(case.context.runner.look(case.work), NotStarted):
        return _start_agent(case)
    return follow(case)


def _setting_up(case: Case) -> Turn:
    seen, stop = case.context.runner.look(case.setup), case.entry.stop
    match seen:
        case Running():
            if stop is not None:
                end_process(case, case.setup, stop.reason)
            return Wait("set-up is running", case.context.tempo.look_ms, case.setup)
        case Ended(record, rebooted):
            return _set_up(case, record, rebooted)
        case Vanished():
            return _gone(case, vanished_fault(seen, stop))
        case NotStarted():
            return _gone(case, Fault(FailureKind.PROCESS_VANISHED, "the record of its process is gone"))
        case _:
            assert_never(seen)


def _set_up(case: Case, record: ExitRecord, rebooted: bool) -> Turn:
    """Files of an earlier boot may be lost in part: no agent starts on them, and no copy is kept."""
    fault = setup_fault(record, case.entry.stop, case.limits)
    if fault is None and rebooted:
        fault = Fault(FailureKind.NODE_REBOOTED, CUT_OFF)
    if fault is not None:
        return _never_ran(case, _with_last_lines(case, fault))
    try:
        kept = _kept(case)
        baseline = case.context.workspaces.baseline(case.identity, case.order.workspace)
    except StepFailed as failed:
        return _never_ran(case, Fault(failed.kind, str(failed)))
    words = (Finding(level="info", text=_took(case, record, kept)),)
    case.context.journal.write(case.identity, Note(baseline=baseline, findings=kept, say=words))
    return Progressed()


def _with_last_lines(case: Case, fault: Fault) -> Fault:
    """Its own words say why a set-up step failed. The first line may be cut, a secret in it too: left out."""
    if fault.kind is not FailureKind.SETUP_FAILED:
        return fault
    left = case.context.runner.tail(case.folder / SETUP_LOG, -LAST_BYTES, LAST_BYTES)
    lines = case.cleaner()(left.decode("utf-8", "replace")).splitlines()
    told = [line.strip() for line in lines[len(left) == LAST_BYTES :] if line.strip()][-LAST_LINES:]
    return Fault(fault.kind, ": ".join((fault.reason, " | ".join(told)[-MOST_TOLD:]))) if told else fault


def _took(case: Case, record: ExitRecord, why_not: tuple[str, ...]) -> str:
    key = case.entry.prepared.get("cache")
    kept = "; its result is kept for later runs" if key is not None and not why_not else ""
    return f"set-up took {(record.ended_mono_ms - record.began_mono_ms) / 1000:.1f} s{kept}"


def _kept(case: Case) -> tuple[str, ...]:
    """Before the agent can lay its hands on them. The key is of before set-up, which may change lockfiles."""
    key = case.entry.prepared.get("cache")
    return () if key is None else case.context.workspaces.keep(case.order, key)


def _start_agent(case: Case) -> Turn:
    """Its own exclusive record keeps it from starting twice, as every phase's does."""
    stop, left = case.entry.stop, case.time_left()
    if stop is not None:
        return _withhold(case, stop_fault(stop))
    if case.was_prepared_before:
        return _withhold(case, Fault(FailureKind.NODE_REBOOTED, LAID_OUT_BEFORE))
    if left == 0:
        return _withhold(case, Fault(FailureKind.WALL_LIMIT, "set-up took all of its time"))
    try:
        planned = case.context.runner.planned(case.work)
        if planned is None:
            return _never_ran(case, Fault(FailureKind.NODE_INTERNAL, "the plan of the work is gone"))
        must_have_gates(case, planned)
        plan = _renewed(case, planned, left)
        case.context.runner.amend(case.work, plan)
        case.context.runner.start(case.work, plan)
    except RunnerError as failed:
        return _withhold(case, runner_fault(failed))
    except StepFailed as failed:
        return _withhold(case, Fault(failed.kind, str(failed)))
    return Progressed()


def _renewed(case: Case, planned: PhasePlan, left: int) -> PhasePlan:
    """Restores the files that set-up could write, and builds the sandbox by today's rules. StepFailed."""
    door = reopen(case)
    case.context.workspaces.renew(case.identity)
    case.context.sessions.put_back(case.order)
    plan = replace(planned, limits=replace(planned.limits, wall_ms=left))
    return case.enclosed(plan, plan, door)


def _withhold(case: Case, fault: Fault) -> Turn:
    """The stop lies there before we look again: a shim that wakes only now finds it and executes nothing."""
    case.context.runner.stop(case.work, fault.reason)
    if not isinstance(case.context.runner.look(case.work), NotStarted):
        return Progressed()  # it had been started
    return _never_ran(case, fault)


def _gone(case: Case, fault: Fault) -> Turn:
    swept = case.context.runner.sweep(str(case.identity))
    return _never_ran(case, fault, [f"{swept} processes were left behind and killed"] if swept else [])


def _never_ran(case: Case, fault: Fault, findings: list[str] | None = None) -> Turn:
    """The agent never ran, so its cost is known."""
    data = ExitedData(usage=NEVER_RAN["usage"], findings=findings or [])
    record = case.record(case.setup)
    if record is not None:
        data["began"], data["ended"] = record.began_wall_ms, record.ended_wall_ms
    return case.mark(Mark.EXITED, fault, data)
