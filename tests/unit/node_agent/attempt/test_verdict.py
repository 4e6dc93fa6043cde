"""One line of the table for each way in which an attempt can end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.attempt.gateways import ModelCount
from node_agent.attempt.ports import ReportedEnd
from node_agent.attempt.records import StopKind, StopNote
from node_agent.attempt.verdict import (
    MOST_FAILING_S,
    MOST_TRIES,
    Fault,
    change_fault,
    failing_model,
    fault_from_json,
    fault_to_json,
    gate_fault,
    gateway_fault,
    judge_end,
    over_limit,
    rules_fault,
    setup_fault,
    stop_fault,
    too_many_turns,
    vanished_fault,
    work_fault,
)
from node_agent.shim.spool import ExecError, ExitRecord, PhaseEnd, StepEndedBy, StepKind, StepRecord, Vanished
from node_agent.shim.spool import PhaseLimits as Held
from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.job import Limits
from node_agent.wire.receipt import GateResult, ModelCalls, Usage

K = FailureKind
STOP = StopNote(StopKind.STOP, "enough")


def step(kind: StepKind = StepKind.AGENT, code: int | None = 0, **changes: Any) -> StepRecord:
    fields: dict[str, Any] = {
        "index": 0, "name": kind.value, "kind": kind, "pid": 1, "start": 1, "exit_code": code, "signal": None,
        "exec_error": None, "ended_by": StepEndedBy.NONE, "began_wall_ms": 0, "began_mono_ms": 0,
        "ended_wall_ms": 1, "ended_mono_ms": 1, "out_bytes": 0, "err_bytes": 0, "max_rss_kb": 0, "cpu_ms": 0,
        "swept": 0,
    }  # fmt: skip
    return StepRecord(**{**fields, **changes})


def record(*steps: StepRecord, ended: PhaseEnd = PhaseEnd.DONE, reason: str = "") -> ExitRecord:
    return ExitRecord("i", "work", "b", ended, reason, True, 0, 0, 0, 0, 1, 1, steps)


def error(what: str, errno: str, kind: StepKind = StepKind.AGENT, path: str = "/bin/x") -> ExitRecord:
    broken = step(kind, None, exec_error=ExecError(what, errno, path))
    return record(broken, ended=PhaseEnd.FAILED)


DONE, FAILED = ReportedEnd(None, ""), ReportedEnd(K.AGENT_FAILED, "exit 1")


@pytest.mark.parametrize(
    ("ended", "told", "stop", "kind"),
    [
        (record(step()), DONE, None, None),
        (record(step(code=1), ended=PhaseEnd.FAILED), FAILED, None, K.AGENT_FAILED),
        (record(step()), ReportedEnd(K.NO_ANSWER, "silent"), None, K.NO_ANSWER),
        (record(step()), DONE, STOP, None),  # it came too late
        (record(step(code=None, ended_by=StepEndedBy.WALL)), DONE, None, K.WALL_LIMIT),
        (record(step(code=0, ended_by=StepEndedBy.IDLE)), DONE, None, K.IDLE_LIMIT),
        (record(step(code=None, ended_by=StepEndedBy.OUTPUT)), DONE, STOP, K.OUTPUT_LIMIT),
        (record(step(code=None, ended_by=StepEndedBy.MEMORY)), DONE, None, K.MEMORY_LIMIT),
        (record(step(code=0, ended_by=StepEndedBy.PROCESSES)), DONE, None, K.PROCESS_LIMIT),
        (record(step(code=0, ended_by=StepEndedBy.STOP)), DONE, STOP, K.STOPPED),
        (record(step(code=0, ended_by=StepEndedBy.STOP)), DONE, None, K.STOPPED),
        (record(step(ended_by=StepEndedBy.STOP)), DONE, StopNote(StopKind.DRAIN, ""), K.DRAINED),
        (record(step(ended_by=StepEndedBy.STOP)), DONE, StopNote(StopKind.TOKENS, ""), K.TOKEN_LIMIT),
        (record(step(ended_by=StepEndedBy.STOP)), DONE, StopNote(StopKind.USD, ""), K.USD_LIMIT),
        (record(step(ended_by=StepEndedBy.STOP)), DONE, StopNote(StopKind.TOMBSTONE, ""), K.STOPPED),
        (record(ended=PhaseEnd.STOPPED, reason="before"), None, None, K.STOPPED),
        (error("exec", "ENOENT"), None, None, K.RUNTIME_MISSING),
        (error("wall", "EPERM"), None, None, K.SANDBOX),
        (error("wall", "EPERM", path="bwrap: execvp x: No such file"), None, None, K.RUNTIME_MISSING),
        (error("cwd", "ENOENT"), None, None, K.NODE_INTERNAL),
        (error("stdout", "ENOSPC"), None, None, K.DISK_FULL),
        (record(step(), ended=PhaseEnd.ERROR, reason="OSError"), DONE, None, K.NODE_INTERNAL),
    ],
)
def test_work(ended: ExitRecord, told: ReportedEnd | None, stop: StopNote | None, kind: K | None) -> None:
    fault = work_fault(ended, told, stop)
    assert (fault.kind if fault else None) == kind


@pytest.mark.parametrize(
    ("ended", "stop", "kind"),
    [
        (record(step(StepKind.SETUP)), None, None),
        (record(step(StepKind.SETUP)), STOP, None),  # it came too late for set-up; the agent does not start
        (record(step(StepKind.SETUP), ended=PhaseEnd.STOPPED), STOP, K.STOPPED),
        (record(step(StepKind.SETUP), ended=PhaseEnd.STOPPED), None, K.STOPPED),
        (record(ended=PhaseEnd.STOPPED, reason="before"), STOP, K.STOPPED),
        (record(step(StepKind.SETUP, 1), ended=PhaseEnd.FAILED), None, K.SETUP_FAILED),
        (record(step(StepKind.SETUP, 127), ended=PhaseEnd.FAILED), None, K.SETUP_FAILED),
        (error("exec", "ENOENT", StepKind.SETUP), None, K.SETUP_FAILED),
        (error("stdout", "ENOSPC", StepKind.SETUP), None, K.DISK_FULL),
        (record(step(StepKind.SETUP), ended=PhaseEnd.ERROR, reason="OSError"), None, K.NODE_INTERNAL),
    ],
)
def test_setup(ended: ExitRecord, stop: StopNote | None, kind: K | None) -> None:
    fault = setup_fault(ended, stop)
    assert (fault.kind if fault else None) == kind


@pytest.mark.parametrize(
    ("seen", "stop", "kind"),
    [
        (Vanished("gone"), None, K.PROCESS_VANISHED),
        (Vanished("restarted", True), None, K.NODE_REBOOTED),
        (Vanished("gone"), STOP, K.STOPPED),
    ],
)
def test_vanished(seen: Vanished, stop: StopNote | None, kind: K) -> None:
    assert vanished_fault(seen, stop).kind is kind


@pytest.mark.parametrize(
    ("read_only", "kind", "before", "after"),
    [
        (True, "change", None, K.READ_ONLY_BROKEN),
        (True, "no_change", None, K.READ_ONLY_BROKEN),
        (True, "empty", None, None),
        (True, "none", None, None),
        (True, "change", K.AGENT_FAILED, K.READ_ONLY_BROKEN),
        (True, "change", K.WALL_LIMIT, K.READ_ONLY_BROKEN),
        (True, "change", K.STOPPED, K.STOPPED),
        (True, "change", K.NODE_REBOOTED, K.NODE_REBOOTED),
        (False, "change", None, None),
        (False, "change", K.AGENT_FAILED, K.AGENT_FAILED),
    ],
)
def test_change(read_only: bool, kind: str, before: K | None, after: K | None) -> None:
    fault = change_fault(read_only, kind, ["a"], Fault(before, "x") if before else None)
    assert (fault.kind if fault else None) == after


def gate(passed: bool, code: int | None, signal: int | None = None) -> GateResult:
    return GateResult(name="g", argv=("g",), passed=passed, exit_code=code, signal=signal, duration_ms=1)


@pytest.mark.parametrize(
    ("ended", "gates", "kind"),
    [
        (PhaseEnd.DONE, [gate(True, 0)], None),
        (PhaseEnd.FAILED, [gate(True, 0), gate(False, 1)], K.GATE_FAILED),
        (PhaseEnd.FAILED, [gate(False, 1), gate(False, 126)], K.GATE_NOT_RUNNABLE),
        (PhaseEnd.FAILED, [gate(False, 127)], K.GATE_NOT_RUNNABLE),
        (PhaseEnd.FAILED, [gate(False, None)], K.GATE_NOT_RUNNABLE),
        (PhaseEnd.FAILED, [gate(False, None, 9)], K.GATE_FAILED),
        (PhaseEnd.STOPPED, [gate(False, None, 2)], K.STOPPED),
        (PhaseEnd.ERROR, [], K.NODE_INTERNAL),
    ],
)
def test_gates(ended: PhaseEnd, gates: list[GateResult], kind: K | None) -> None:
    fault = gate_fault(record(ended=ended), gates, STOP)
    assert (fault.kind if fault else None) == kind


# fmt: off
LIMITED_BY = [
    (StepEndedBy.WALL, K.WALL_LIMIT, "it ran for longer than its time limit of 15m", "wall, --timeout"),
    (StepEndedBy.IDLE, K.IDLE_LIMIT, "it wrote nothing for longer than its idle limit of 9s",
     "idle, --idle-timeout"),
    (StepEndedBy.OUTPUT, K.OUTPUT_LIMIT, "it wrote more than its output limit of 64 MiB", "output"),
    (StepEndedBy.MEMORY, K.MEMORY_LIMIT, "it used more memory than its limit of 2 GiB", "memory"),
    (StepEndedBy.PROCESSES, K.PROCESS_LIMIT, "it had more processes and threads than its limit of 9",
     "processes"),
    (StepEndedBy.DISK, K.DISK_LIMIT, "it used more disk space than its limit of 20 GiB", "disk"),
]
# fmt: on


@pytest.mark.parametrize(("by", "kind", "words", "key"), LIMITED_BY)
def test_a_step_that_a_limit_of_ours_ended(by: StepEndedBy, kind: K, words: str, key: str) -> None:
    """The agent's own is its failure. Set-up says nothing of the agent, and a gate nothing of the code,
    whatever status it leaves; a gate that failed before does."""
    cut = step(StepKind.GATE, None, index=1, ended_by=by)
    ended = record(step(StepKind.GATE), cut, ended=PhaseEnd.FAILED)
    limits = Held(900_000, 9_000, 64 << 20, 2 << 30, 9, 20 << 30)
    fault = gate_fault(ended, [gate(True, 0), gate(False, None, 9)], None, limits)
    assert fault == Fault(K.GATE_NOT_JUDGED, f"gate g was not judged: {words} (limits.{key})")
    assert gate_fault(ended, [gate(True, 0), gate(False, 0)], None, limits) == fault
    assert not FAILURES[fault.kind].agent, "nobody's fault"
    assert work_fault(record(step(ended_by=by)), DONE, None, limits) == Fault(kind, words)
    setup = setup_fault(record(step(StepKind.SETUP, ended_by=by)), None, limits)
    assert setup is not None and setup.kind is K.SETUP_FAILED and f"{words} (limits.{key})" in setup.reason
    fault = gate_fault(ended, [gate(False, 1), gate(False, None, 9)], None)
    assert fault is not None and fault.kind is K.GATE_FAILED


def test_every_failure_kind_has_its_outcome() -> None:
    for kind in FailureKind:
        assert judge_end(Fault(kind, "why"), "change").outcome is FAILURES[kind].outcome
    assert judge_end(None, "change").outcome is Outcome.DONE


def test_limits() -> None:
    limits = Limits(wall_ms=1, idle_ms=1, output_bytes=1, tokens=10, usd=Decimal("0.5"))
    assert over_limit(limits, Usage(input_tokens=5, output_tokens=5)) is None
    assert over_limit(limits, Usage(input_tokens=6, output_tokens=5)) == StopNote(
        StopKind.TOKENS, "11 tokens, the limit is 10"
    )
    spent = Usage(cost_usd=Decimal("0.51"), cost_source="reported")
    assert over_limit(limits, spent) == StopNote(StopKind.USD, "$0.51 was spent, the limit is $0.5")
    assert over_limit(limits, Usage()) is None  # unknown is not over


def counted(failing: int, status: int, seconds: int = MOST_FAILING_S) -> ModelCount:
    told = {"status": status, "trouble": f"HTTP {status}"}
    return ModelCount(Usage(), ModelCalls(), failing=failing, failing_s=seconds, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "kind", "failure"),
    [
        (500, StopKind.MODEL_FAILED, K.MODEL_FAILED),
        (0, StopKind.MODEL_FAILED, K.MODEL_FAILED),
        (429, StopKind.MODEL_BUSY, K.MODEL_BUSY),
        (401, StopKind.MODEL_AUTH, K.MODEL_AUTH),
        (400, StopKind.MODEL_REFUSES, K.MODEL_REFUSED),
    ],
)
def test_a_model_server_that_fails_on_and_on_ends_the_run_as_its_failure(
    status: int, kind: StopKind, failure: K
) -> None:
    stop = failing_model(counted(MOST_TRIES, status))
    assert stop is not None and stop.kind is kind and f"HTTP {status}" in stop.reason
    ended = work_fault(record(step(ended_by=StepEndedBy.STOP)), DONE, stop)
    assert ended == Fault(failure, stop.reason)
    assert gateway_fault(ended, DONE, counted(MOST_TRIES, status)) == ended


def test_a_model_server_that_answers_now_and_then_ends_nothing() -> None:
    assert failing_model(None) is None and failing_model(counted(MOST_TRIES - 1, 500)) is None
    assert failing_model(counted(MOST_TRIES * 9, 503, MOST_FAILING_S - 1)) is None, "it may be loading"


def test_turns_are_the_runtimes_own_or_the_gateways() -> None:
    calls = ModelCount(Usage(), ModelCalls(requests=9, failed=2, refused=1))
    by_login = ModelCount(Usage(), ModelCalls(requests=9, subscription=True))
    assert too_many_turns(5, 5, calls) is None, "what the runtime tells goes before what was counted"
    assert too_many_turns(5, 6, None) == StopNote(
        StopKind.TURNS, "the model was called for turn 6, the limit is 5"
    )
    assert too_many_turns(6, 0, calls) is None, "failed and refused calls are not turns"
    assert too_many_turns(5, 0, calls) is not None
    assert too_many_turns(5, 0, by_login) is None, "connections are not turns"
    assert too_many_turns(None, 99, calls) is None
    assert stop_fault(StopNote(StopKind.TURNS, "x")).kind is K.TURN_LIMIT


def test_a_fault_survives_its_record() -> None:
    fault = Fault(FailureKind.DEPOT, "no")
    assert fault_from_json({"fault": fault_to_json(fault)}) == fault
    assert fault_from_json({}) is None


def test_a_limit_of_the_provider_explains_no_broken_rule() -> None:
    """The agent continues with what it has changed: the rules have to be asked before."""
    limited = Fault(FailureKind.MODEL_BUSY, "429")
    wrote = change_fault(True, "change", ["a.py"], limited)
    assert wrote is not None and wrote.kind is FailureKind.READ_ONLY_BROKEN
    broke = rules_fault(["secrets/x is not to be written"], limited)
    assert broke is not None and broke.kind is FailureKind.RULE_BROKEN
    assert rules_fault([], limited) is limited
