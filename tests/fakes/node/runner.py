"""Shims in memory: what became of a phase follows from its script and the clock."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from node_agent.attempt.plans import (
    AGAIN,
    ANEW,
    ANSWER,
    BASELINE,
    GATES,
    GATES_LOG,
    JUDGED,
    OUT,
    SCORE,
    SETUP,
    SETUP_LOG,
)
from node_agent.attempt.ports import Activity
from node_agent.shim.spool import (
    Ended,
    ExitRecord,
    Look,
    NotStarted,
    PhaseEnd,
    PhasePlan,
    RunnerError,
    Running,
    StepEndedBy,
    StepKind,
    StepRecord,
    Vanished,
)
from node_agent.wire.identity import AttemptId
from tests.fakes.node.host import MemoryHost, Phase, Script


class MemoryRunner:
    """The Runner port over a MemoryHost."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def prepare(self, folder: Path, plan: PhasePlan, stdin: bytes = b"") -> None:
        if self._host.full:
            raise RunnerError("the disk is full", disk_full=True)
        known = self._host.phases.setdefault(str(folder), Phase(plan, stdin=stdin))
        if known.plan != plan:
            raise RunnerError(f"{folder} contains another plan")

    def planned(self, folder: Path) -> PhasePlan | None:
        phase = self._host.phases.get(str(folder))
        return None if phase is None or str(folder) in self._host.forgotten else phase.plan

    def discard(self, folder: Path) -> None:
        phase = self._host.phases.get(str(folder))
        if phase is not None and phase.boot is not None:
            raise RunnerError(f"the phase in {folder} has been started, so it cannot be discarded")
        self._host.phases.pop(str(folder), None)
        self._host.stops.pop(str(folder), None)
        self._host.torn.discard(str(folder))

    def forget(self, folder: Path) -> None:
        self._host.forgotten.add(str(folder))

    def amend(self, folder: Path, plan: PhasePlan) -> None:
        if self._host.full:
            raise RunnerError("the disk is full", disk_full=True)
        self._host.phases[str(folder)].plan = plan

    def start(self, folder: Path, plan: PhasePlan) -> None:
        phase = self._host.phases.get(str(folder))
        if phase is not None and phase.boot is not None:
            return
        self.prepare(folder, plan)
        if self._script(plan).start_fails:
            raise RunnerError("no shim started")
        phase = self._host.phases[str(folder)]
        if not self._host.torn.isdisjoint((str(folder), plan.marker)):
            self._host.built_on_torn.append(str(folder))
        phase.boot, phase.began = self._host.boot, self._host.clock.mono_ms()
        phase.began_wall = self._host.clock.wall_ms()
        reason = self._host.stops.get(str(folder))
        if reason is not None:
            where = f"before step {plan.steps[0].name}"
            phase.ended = self._record(phase, PhaseEnd.STOPPED, where, ())
            return
        self._host.spawns.append(str(folder))

    def look(self, folder: Path) -> Look:
        phase = self._host.phases.get(str(folder))
        if phase is None or phase.boot is None:
            return NotStarted()
        if phase.ended is None:
            self._pass_time(phase)
        if phase.ended is not None:
            return Ended(phase.ended, phase.boot != self._host.boot)
        if phase.boot != self._host.boot:
            return Vanished("the node was restarted", True)
        return Vanished("the shim is gone") if phase.gone else Running("agent", 7, 6)

    def wait(self, folder: Path, timeout_s: float, wake: int | None = None) -> Look:
        return self.look(folder)

    def stop(self, folder: Path, reason: str) -> None:
        self._host.stops.setdefault(str(folder), reason)
        phase = self._host.phases.get(str(folder))
        if phase is not None and phase.boot is not None and phase.stop is None:
            phase.stop = self._host.clock.mono_ms()

    def sweep(self, marker: str) -> int:
        return 0

    def end_leftovers(self, markers: Collection[str]) -> dict[str, int]:
        left = self._host.leftovers
        return {marker: left.pop(marker) for marker in markers if marker in left}

    def lived(self, folder: Path, outputs: tuple[Path, ...], seen_wall_ms: int) -> int:
        phase = self._host.phases.get(str(folder))
        if phase is None or phase.boot is None:
            return 0
        return max(0, seen_wall_ms - phase.began_wall)  # its output was written when it began

    def activity(self, folder: Path, outputs: tuple[Path, ...]) -> Activity:
        return self._host.activity

    def tail(self, path: Path, offset: int, limit: int) -> bytes:
        phase = self._host.phases.get(str(path.parent))
        if phase is None or phase.boot is None or path.name != OUT:
            return _part(self._other_log(path), offset, limit)
        if str(path.parent) in self._host.torn:
            return b""
        return _part(self._script(phase.plan).output, offset, limit)

    def keep(self, path: Path, data: bytes) -> None:
        self._host.logs[str(path)] = data

    def _other_log(self, path: Path) -> bytes:
        if path.name in (SETUP_LOG, ANSWER):
            phase = self._host.phases.get(str(path.parent / SETUP)) if path.name == SETUP_LOG else None
            return self._host.logs.get(str(path), self._script(phase.plan).setup_log if phase else b"")
        if path.name in (BASELINE, JUDGED):
            return self._host.logs.get(str(path), b"")
        phase = self._host.phases.get(str(path.parent / GATES))
        if phase is None or phase.boot is None:
            return b""
        if path.name == SCORE:
            return self._script(phase.plan).score if phase.plan.steps[-1].name == "score" else b""
        return b"gates ran\n" if path.name == GATES_LOG else b""

    def _script(self, plan: PhasePlan) -> Script:
        return self._host.script(AttemptId.parse(plan.marker))

    def _pass_time(self, phase: Phase) -> None:
        """What became of a live phase by now."""
        if phase.gone or phase.boot != self._host.boot:
            return
        script, now, plan = self._script(phase.plan), self._host.clock.mono_ms(), phase.plan
        lasts = dict.fromkeys((GATES, AGAIN), script.gate_ms)
        lasts |= dict.fromkeys((SETUP, ANEW), script.setup_ms)
        natural = phase.began + lasts.get(plan.phase, script.duration_ms)
        stopped = None if phase.stop is None else phase.stop + script.stop_ms
        wall = None if plan.limits.wall_ms is None else phase.began + plan.limits.wall_ms
        where = f"in step {plan.steps[-1].name}"
        if stopped is not None and stopped < natural and now >= stopped:
            phase.ended = self._record(phase, PhaseEnd.STOPPED, where, ("stop",))
        elif wall is not None and wall < natural and now >= wall:
            phase.ended = self._record(phase, PhaseEnd.FAILED, where, ("wall",))
        elif now >= natural:
            phase.ended = self._natural_end(phase, script)
        if phase.ended is not None:
            self._leave_files(plan)

    def _leave_files(self, plan: PhasePlan) -> None:
        if plan.phase == SETUP:
            self._host.set_up.add(plan.marker)
        elif plan.phase not in (GATES, ANEW, AGAIN):
            self._host.trees[plan.marker] = True

    def _natural_end(self, phase: Phase, script: Script) -> ExitRecord:
        codes: list[int | None] = []
        gates = phase.plan.phase == GATES
        for number, step in enumerate(phase.plan.steps):
            if gates:
                code: int | None = (*script.gate_codes, *([0] * 64))[number]
            elif phase.plan.phase == AGAIN:
                code = script.again_code
            else:
                code = script.setup_code if step.kind is StepKind.SETUP else script.exit_code
            codes.append(code)
            if code != 0 and not gates:
                break
        done = all(code == 0 for code in codes)
        return self._record(phase, PhaseEnd.DONE if done else PhaseEnd.FAILED, "", codes)

    def _record(self, phase: Phase, end: PhaseEnd, reason: str, codes: Any) -> ExitRecord:
        script, now = self._script(phase.plan), self._host.clock.mono_ms()
        steps = tuple(
            _step(number, phase, code, script.signal if code is None else None, now)
            for number, code in enumerate(codes)
        )
        return ExitRecord(
            id=phase.plan.id,
            phase=phase.plan.phase,
            boot=phase.boot or "",
            ended=end,
            reason=reason,
            reaper=True,
            swept=0,
            left=0,
            began_wall_ms=phase.began,
            began_mono_ms=phase.began,
            ended_wall_ms=now,
            ended_mono_ms=now,
            steps=steps,
        )


def _step(number: int, phase: Phase, code: Any, signal: int | None, now: int) -> StepRecord:
    ended = StepEndedBy(code) if isinstance(code, str) else StepEndedBy.NONE
    stopped = ended is not StepEndedBy.NONE
    spec = phase.plan.steps[number if not stopped else -1]
    return StepRecord(
        index=number if not stopped else len(phase.plan.steps) - 1,
        name=spec.name,
        kind=spec.kind,
        pid=7,
        start=1,
        exit_code=None if stopped else code,
        signal=2 if stopped else signal,
        exec_error=None,
        ended_by=ended,
        began_wall_ms=phase.began,
        began_mono_ms=phase.began,
        ended_wall_ms=now,
        ended_mono_ms=now,
        out_bytes=0,
        err_bytes=0,
        max_rss_kb=0,
        cpu_ms=0,
        swept=0,
    )


def _part(data: bytes, offset: int, limit: int) -> bytes:
    begin = offset if offset >= 0 else max(0, len(data) + offset)
    return data[begin : begin + limit]
