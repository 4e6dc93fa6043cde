"""Decides how an attempt ended, from the results of its steps: outcome, failure kind, reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node_agent.attempt.gateways import ModelCount
from node_agent.attempt.ports import ReportedEnd
from node_agent.attempt.records import StopKind, StopNote
from node_agent.shim.spool import ExitRecord, PhaseEnd, StepEndedBy, StepKind, StepRecord, Vanished
from node_agent.shim.spool import PhaseLimits as Held
from node_agent.wire.failure import FAILURES, FailureKind, Outcome, by_status
from node_agent.wire.job import Limits
from node_agent.wire.receipt import GateResult, Usage

NOT_RUNNABLE = frozenset({126, 127})
_EXECVP = "bwrap: execvp "
"""The start of bwrap's message about a missing program."""


@dataclass(frozen=True, slots=True)
class AttemptVerdict:
    """The end of an attempt. `failure` is None exactly when the outcome is `done`."""

    outcome: Outcome
    failure: FailureKind | None
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure: its kind and its reason."""

    kind: FailureKind
    reason: str


_STOPPED = {
    StopKind.STOP: FailureKind.STOPPED,
    StopKind.TOMBSTONE: FailureKind.STOPPED,
    StopKind.DRAIN: FailureKind.DRAINED,
    StopKind.TOKENS: FailureKind.TOKEN_LIMIT,
    StopKind.USD: FailureKind.USD_LIMIT,
    StopKind.TURNS: FailureKind.TURN_LIMIT,
    StopKind.GATEWAY: FailureKind.NODE_INTERNAL,
    StopKind.RULE: FailureKind.RULE_BROKEN,
    StopKind.MODEL_FAILED: FailureKind.MODEL_FAILED,
    StopKind.MODEL_BUSY: FailureKind.MODEL_BUSY,
    StopKind.MODEL_AUTH: FailureKind.MODEL_AUTH,
    StopKind.MODEL_REFUSES: FailureKind.MODEL_REFUSED,
}
MOST_TRIES, MOST_FAILING_S = 10, 90
"""Consecutive failed calls, and seconds of failing; both must be reached. A server that loads its model fails
for a minute, and a program may call many times a second."""
_OURS = (Outcome.INFRA, Outcome.INTERRUPTED)
_REFUSED = {
    "tokens": FailureKind.TOKEN_LIMIT,
    "usd": FailureKind.USD_LIMIT,
    "ceiling": FailureKind.USD_LIMIT,
    "requests": FailureKind.REQUEST_LIMIT,
}
GATEWAY_GONE = "the model gateway of this run has died; it is not restarted while the agent runs"
_LIMITS = {
    StepEndedBy.WALL: FailureKind.WALL_LIMIT,
    StepEndedBy.IDLE: FailureKind.IDLE_LIMIT,
    StepEndedBy.OUTPUT: FailureKind.OUTPUT_LIMIT,
    StepEndedBy.MEMORY: FailureKind.MEMORY_LIMIT,
    StepEndedBy.PROCESSES: FailureKind.PROCESS_LIMIT,
    StepEndedBy.DISK: FailureKind.DISK_LIMIT,
}
LIMITED = frozenset(_LIMITS)
"""The kinds of a step's end that a limit causes."""
LIMIT_KEYS = {
    StepEndedBy.WALL: "(limits.wall, --timeout)",
    StepEndedBy.IDLE: "(limits.idle, --idle-timeout)",
    StepEndedBy.OUTPUT: "(limits.output)",
    StepEndedBy.MEMORY: "(limits.memory)",
    StepEndedBy.PROCESSES: "(limits.processes)",
    StepEndedBy.DISK: "(limits.disk)",
}
"""The setting of each limit, shown to a user when the limit has ended a set-up or gate."""
LIMITS = frozenset({*_LIMITS.values(), *_REFUSED.values()})
"""The failures that a limit of the job causes."""
NO_LIMITS = Held()


def limit_fault(by: StepEndedBy, limits: Held, where: str = "") -> Fault:
    """Return the failure for the limit that ended the step, with the limit's value if it is known."""
    words = {
        StepEndedBy.WALL: ("it ran for longer than its time limit", _format_time(limits.wall_ms)),
        StepEndedBy.IDLE: ("it wrote nothing for longer than its idle limit", _format_time(limits.idle_ms)),
        StepEndedBy.OUTPUT: ("it wrote more than its output limit", _format_size(limits.output_bytes)),
        StepEndedBy.MEMORY: ("it used more memory than its limit", _format_size(limits.memory_bytes)),
        StepEndedBy.PROCESSES: (
            "it had more processes and threads than its limit",
            f" of {limits.processes}" if limits.processes else "",
        ),
        StepEndedBy.DISK: ("it used more disk space than its limit", _format_size(limits.disk_bytes)),
    }
    text, value = words[by]
    return Fault(_LIMITS[by], f"{text}{value}{where}")


def _format_time(ms: int | None) -> str:
    """Return a duration as users write it on the command line."""
    if not ms:
        return ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms % size == 0:
            return f" of {ms // size}{unit}"
    return f" of {ms} ms"


def _format_size(count: int | None) -> str:
    if not count:
        return ""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count % size == 0:
            return f" of {count // size} {unit}"
    return f" of {count} bytes"


def over_limit(limits: Limits, usage: Usage) -> StopNote | None:
    """Return a stop if the runtime's reported usage exceeds a limit; None if it exceeds none."""
    spent = usage.input_tokens + usage.output_tokens
    if limits.tokens is not None and spent > limits.tokens:
        return StopNote(StopKind.TOKENS, f"{spent} tokens, the limit is {limits.tokens}")
    if limits.usd is not None and usage.cost_usd is not None and usage.cost_usd > limits.usd:
        return StopNote(StopKind.USD, f"${usage.cost_usd} was spent, the limit is ${limits.usd}")
    return None


def failing_model(count: ModelCount | None) -> StopNote | None:
    """Return a stop if the model server failed too often in a row, because a program may retry forever."""
    if count is None or count.failing < MOST_TRIES or count.failing_s < MOST_FAILING_S:
        return None
    failure = by_status(count.status)
    kind = next(stop for stop, ends_as in _STOPPED.items() if ends_as is failure)
    return StopNote(
        kind,
        f"the model server failed {count.failing} times in a row within {count.failing_s} s: {count.trouble}",
    )


def too_many_turns(limit: int | None, told: int, count: ModelCount | None) -> StopNote | None:
    """Return a stop if the model has answered more often than the run allows. `told`: the runtime's own
    count; 0 if it reports none, so that the gateway's count is used."""
    calls = None if count is None or count.calls.subscription else count.calls
    counted = 0 if calls is None else calls.requests - calls.failed - calls.refused
    turns = told or counted
    if limit is None or turns <= limit:
        return None
    return StopNote(StopKind.TURNS, f"the model was called for turn {turns}, the limit is {limit}")


def gateway_fault(
    fault: Fault | None, reported: ReportedEnd | None, count: ModelCount | None
) -> Fault | None:
    """Return the real cause if an agent failed because a limit or our gateway cut off its model."""
    if fault is None and count is not None and count.wrapped:
        # the agent ended normally, but before its work was done
        return Fault(_REFUSED[count.limit], count.wrapped)
    if reported is None or reported.failure is None or fault != Fault(reported.failure, reported.reason):
        return fault
    if count is not None and count.limit in _REFUSED:
        return Fault(_REFUSED[count.limit], count.wrapped or count.words)
    return fault if count is None or count.ended else Fault(FailureKind.NODE_INTERNAL, GATEWAY_GONE)


def stop_fault(stop: StopNote) -> Fault:
    return Fault(_STOPPED[stop.kind], stop.reason)


def vanished_fault(seen: Vanished, stop: StopNote | None) -> Fault:
    """Return the failure of a shim that ended without a record: the requested stop, or the node's fault."""
    if stop is not None:
        return Fault(_STOPPED[stop.kind], f"{stop.reason} (and {seen.reason})")
    kind = FailureKind.NODE_REBOOTED if seen.rebooted else FailureKind.PROCESS_VANISHED
    return Fault(kind, seen.reason)


def work_fault(
    record: ExitRecord, reported: ReportedEnd | None, stop: StopNote | None, limits: Held = NO_LIMITS
) -> Fault | None:
    """Return the failure of the work phase: a limit, a stop or the agent's; None if its work is done."""
    last = record.steps[-1] if record.steps else None
    if record.ended is PhaseEnd.ERROR:
        return Fault(FailureKind.NODE_INTERNAL, record.reason)
    if last is None:
        return stop_fault(stop) if stop else Fault(FailureKind.STOPPED, record.reason)
    if last.ended_by is not StepEndedBy.NONE or record.ended is PhaseEnd.STOPPED:
        if last.ended_by in LIMITED:
            if last.kind is not StepKind.SETUP:
                return limit_fault(last.ended_by, limits)
            return Fault(FailureKind.SETUP_FAILED, f"{last.name}: {_with_key(last.ended_by, limits)}")
        return stop_fault(stop) if stop else Fault(FailureKind.STOPPED, record.reason or "stopped")
    if last.exec_error is not None:
        return _exec_fault(last)
    if reported is None or reported.failure is None:
        return None
    return Fault(reported.failure, reported.reason)


def setup_fault(record: ExitRecord, stop: StopNote | None, limits: Held = NO_LIMITS) -> Fault | None:
    """Return the failure of set-up; None if the agent may start."""
    fault = work_fault(record, None, stop, limits)
    if fault is not None or record.ended is PhaseEnd.DONE:
        return fault
    step = record.steps[-1]
    ended = f"signal {step.signal}" if step.signal is not None else f"exit {step.exit_code}"
    return Fault(FailureKind.SETUP_FAILED, f"{step.name}: {ended}")


def fault_on_result(fault: Fault) -> Fault:
    """Return the failure of set-up on the result: as it succeeded before, the change has failed."""
    if fault.kind is not FailureKind.SETUP_FAILED:
        return fault
    return Fault(
        FailureKind.GATE_FAILED, f"set-up, which succeeded before, fails on the result: {fault.reason}"
    )


_MAKERS = {
    "node_modules": "npm ci",
    ".venv": "python3 -m venv .venv",
    "venv": "python3 -m venv venv",
    "vendor": "composer install",
    "target": "cargo build",
}
"""Commands that make a folder which projects usually ignore."""


def missing_fault(fault: Fault, beside: Sequence[str], named: str) -> Fault:
    """Return the failure of a gate that passes only with the files `beside` the agent's change. `named`:
    these files as text."""
    makers = [_MAKERS[last] for name in beside if (last := name.rpartition("/")[2]) in _MAKERS]
    add = ", ".join(dict.fromkeys(makers)) or "the command that makes them"
    words = f"it passes only with ignored files that the agent made: {named}"
    reason = f"{fault.reason}; {words}; add to pancode.yaml: setup: [{add}]"
    return Fault(FailureKind.GATE_FAILED, reason)


def _with_key(by: StepEndedBy, limits: Held) -> str:
    """Return the limit as text, and the setting that raises it."""
    return f"{limit_fault(by, limits).reason} {LIMIT_KEYS[by]}"


def cannot_run(fault: Fault | None, step: StepRecord | None, argv: Sequence[str] | None) -> int | None:
    """Return a shell's status for a user's own program that is missing (127) or cannot be executed (126);
    None for all other ends."""
    error = step.exec_error if step is not None else None
    if argv is None or error is None or fault is None or fault.kind is not FailureKind.RUNTIME_MISSING:
        return None
    return 127 if error.errno == "ENOENT" or error.path.endswith("No such file or directory") else 126


def own_fault(argv: Sequence[str], status: int, node: str, path: str) -> Fault:
    """Return the failure of the task's own program that cannot run, with the folders that were searched."""
    what = "program not found" if status == 127 else "it cannot be executed"
    where = f"its path {argv[0]!r}" if "/" in argv[0] else f"PATH there: {path}"
    return Fault(FailureKind.CANNOT_START, f"{argv[0][:200]!r} on {node}: {what} ({where[:1000]})")


def _exec_fault(last: StepRecord) -> Fault:
    """Return the failure of a program that could not be started: a missing runtime, or the node's fault."""
    error = last.exec_error
    words = f"{last.name}: cannot start {error.path}: {error.errno}" if error else last.name
    if error is not None and error.errno in ("ENOSPC", "EDQUOT"):
        return Fault(FailureKind.DISK_FULL, words)
    missing = error is not None and (error.what == "exec" or (error.what == "wall" and _EXECVP in error.path))
    if error is not None and error.what == "wall" and not missing:
        return Fault(FailureKind.SANDBOX, f"{last.name}: the sandbox could not be created: {error.path}")
    if error is not None and error.what == "below":
        return Fault(FailureKind.CANNOT_START, f"the run cannot start in {error.path!r}: {error.errno}")
    if last.kind is StepKind.SETUP:
        return Fault(FailureKind.SETUP_FAILED, words)
    if missing:
        return Fault(FailureKind.RUNTIME_MISSING, words)
    return Fault(FailureKind.NODE_INTERNAL, words)


def _ranks_first(fault: Fault | None) -> bool:
    """Whether the failure is the node's own, which then explains the broken rule. A provider's limit is not:
    the agent has worked, and will continue with its changes."""
    busy = fault is not None and fault.kind is FailureKind.MODEL_BUSY
    return fault is not None and not busy and FAILURES[fault.kind].outcome in _OURS


def change_fault(read_only: bool, kind: str, files: Sequence[str], fault: Fault | None) -> Fault | None:
    """Return the failure of a read-only agent that changed files; failures of the node have priority."""
    if not read_only or kind in ("none", "empty"):
        return fault
    if _ranks_first(fault):
        return fault
    shown = ", ".join(files[:5]) or "commits that change no file"
    return Fault(FailureKind.READ_ONLY_BROKEN, f"a read-only agent changed: {shown}")


def rules_fault(broken: Sequence[str], fault: Fault | None) -> Fault | None:
    """Return the failure of a result that breaks rules; failures of the node have priority."""
    if not broken or _ranks_first(fault):
        return fault
    more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    return Fault(FailureKind.RULE_BROKEN, f"{broken[0]}{more}")


def gate_fault(
    record: ExitRecord, gates: Sequence[GateResult], stop: StopNote | None, limits: Held = NO_LIMITS
) -> Fault | None:
    """Return the failure of the gates: the node's, the stop or the first failed gate; None if all passed."""
    if record.ended is PhaseEnd.STOPPED:
        return stop_fault(stop) if stop else Fault(FailureKind.STOPPED, record.reason)
    if record.ended is PhaseEnd.ERROR:
        return Fault(FailureKind.NODE_INTERNAL, record.reason)
    for gate in (one for one in gates if one.judged):
        if not gate.passed and (gate.exit_code is None and gate.signal is None):
            return Fault(FailureKind.GATE_NOT_RUNNABLE, f"gate {gate.name} cannot be started: {gate.argv[0]}")
        if gate.exit_code in NOT_RUNNABLE:
            return Fault(FailureKind.GATE_NOT_RUNNABLE, f"gate {gate.name}: exit {gate.exit_code}")
    number, failed = next(((n, gate) for n, gate in enumerate(gates) if not gate.passed), (0, None))
    if failed is None:
        return None
    by = next((step.ended_by for step in record.steps if step.index == number), StepEndedBy.NONE)
    if by in LIMITED:
        why = f"gate {failed.name} was not judged: {_with_key(by, limits)}"
        return Fault(FailureKind.GATE_NOT_JUDGED, why)
    ended = f"signal {failed.signal}" if failed.signal is not None else f"exit {failed.exit_code}"
    return Fault(FailureKind.GATE_FAILED, f"gate {failed.name}: {ended}")


def judge_end(fault: Fault | None, change: str) -> AttemptVerdict:
    """Return the attempt's outcome for this failure, according to the failure table."""
    if fault is not None:
        return AttemptVerdict(FAILURES[fault.kind].outcome, fault.kind, fault.reason)
    return AttemptVerdict(Outcome.DONE, None, "done" if change == "change" else "done, nothing changed")


def fault_to_json(fault: Fault | None) -> list[str] | None:
    return None if fault is None else [fault.kind.value, fault.reason[:2000]]


def fault_from_json(raw: Mapping[str, Any]) -> Fault | None:
    """Read the failure from the `fault` of a record's data; None if there is none."""
    found = raw.get("fault")
    return None if found is None else Fault(FailureKind(found[0]), found[1])
