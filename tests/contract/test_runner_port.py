"""What the job relies on of a runner, on memory and on real shims."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from node_agent.attempt.ports import RunnerPort
from node_agent.runner.runner import Runner as ShimRunner
from node_agent.shim import shim
from node_agent.shim.spool import (
    Ended,
    ExitRecord,
    Grace,
    NotStarted,
    PhaseEnd,
    PhasePlan,
    RunnerError,
    Running,
    Step,
    StepEndedBy,
    StepKind,
    Vanished,
)
from node_agent.wire.clock import SystemClock
from node_agent.wire.identity import AttemptId
from tests.crowd import until
from tests.fakes.node import MemoryClock, MemoryHost, MemoryRunner, Script

MARKER = f"r-contract{os.getpid()}.1.1"
"""Of this process alone: what is swept goes by its name, wherever on the machine it runs."""
LONG_S = 30


@dataclass
class Runner:
    """A runner, a folder, and a way to let time pass."""

    runner: RunnerPort
    folder: Path
    cwd: Path
    let_pass: Callable[[int], None]
    kill: Callable[[], None]
    has_begun: Callable[[], bool]
    """Whether the program of the first step runs: a shim that runs may not have started it yet."""
    scripts: list[Script] = field(default_factory=list)

    def plan(self, *codes: int, seconds: float = 0.05, kind: StepKind = StepKind.AGENT) -> PhasePlan:
        """Steps with these exit codes; only the first takes its time."""
        self.scripts[:] = [
            Script(
                duration_ms=int(seconds * 1000),
                gate_ms=int(seconds * 1000),
                exit_code=codes[-1],
                gate_codes=codes,
                setup_code=codes[0],
            )
        ]
        steps = tuple(self._step(n, code, seconds if n == 0 else 0, kind) for n, code in enumerate(codes))
        phase = "gates" if kind is StepKind.GATE else "work"
        return PhasePlan(
            MARKER,
            phase,
            MARKER,
            str(self.cwd),
            {"PATH": "/usr/bin:/bin"},
            steps,
            grace=Grace(200, 200),
            go_on=kind is StepKind.GATE,
        )

    def _step(self, number: int, code: int, seconds: float, kind: StepKind) -> Step:
        argv = ("sh", "-c", f"echo ran >> {self.cwd}/ran; sleep {seconds}; exit {code}")
        out = str(self.folder.parent / "out")
        return Step(f"s{number}", kind, argv, out, out)

    def end(self) -> ExitRecord:
        """Once it is over."""
        for _ in range(400):
            if isinstance(seen := self.runner.wait(self.folder, 0.1), Ended):
                return seen.record
            self.let_pass(100)
        raise AssertionError("it did not end")


@pytest.fixture(params=["memory", "shims"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    if request.param == "memory":
        clock, scripts = MemoryClock(), list[Script]()
        host = MemoryHost(clock, lambda identity: scripts[-1])
        runner = MemoryRunner(host)
        yield Runner(runner, Path("/j/work"), tmp_path, clock.advance, host.kill_shims, lambda: True, scripts)
        return
    (tmp_path / "j").mkdir()
    real = ShimRunner(sys.executable, Path(shim.__file__), SystemClock())
    folder = tmp_path / "j" / "work"
    begun = (tmp_path / "ran").exists
    yield Runner(real, folder, tmp_path, lambda ms: None, lambda: _kill(real, folder), begun)
    real.sweep(MARKER)


def _kill(runner: ShimRunner, folder: Path) -> None:
    seen = runner.look(folder)
    assert isinstance(seen, Running)
    os.kill(seen.shim, signal.SIGKILL)
    for _ in range(100):
        if not isinstance(runner.look(folder), Running):
            return
        time.sleep(0.02)


def test_nothing_was_started(world: Runner) -> None:
    assert world.runner.look(world.folder) == NotStarted()
    assert world.runner.planned(world.folder) is None
    assert world.runner.tail(world.folder.parent / "out", 0, 10) == b""


def test_a_whole_phase(world: Runner) -> None:
    plan = world.plan(0)
    world.runner.prepare(world.folder, plan)
    assert world.runner.look(world.folder) == NotStarted()
    assert world.runner.planned(world.folder) == plan
    world.runner.start(world.folder, plan)
    record = world.end()
    assert record.ended is PhaseEnd.DONE and [step.exit_code for step in record.steps] == [0]
    assert record.steps[0].ended_by is StepEndedBy.NONE and record.id == MARKER
    assert world.runner.look(world.folder) == Ended(record)  # the same answer ever after


def test_it_starts_once_however_often_it_is_asked(world: Runner) -> None:
    plan = world.plan(0, seconds=0.3)
    for _ in range(3):
        world.runner.start(world.folder, plan)
    first = world.end()
    world.runner.start(world.folder, plan)
    assert world.end() == first
    ran = world.cwd / "ran"
    assert not ran.exists() or ran.read_text() == "ran\n"


def test_another_plan_for_the_folder_is_refused(world: Runner) -> None:
    world.runner.prepare(world.folder, world.plan(0))
    with pytest.raises(RunnerError):
        world.runner.prepare(world.folder, world.plan(1))


def test_what_was_prepared_and_not_started_is_discarded(world: Runner) -> None:
    """Also a plan that a power cut has torn, and a stop that was left for it."""
    world.runner.discard(world.folder)  # nothing lies there
    world.runner.prepare(world.folder, world.plan(0), stdin=b"old")
    world.runner.stop(world.folder, "the start failed")
    for path in world.folder.glob("*"):  # as far as there are files
        path.write_bytes(b"")
    for _ in range(2):
        world.runner.discard(world.folder)
    assert world.runner.planned(world.folder) is None
    other = world.plan(3)
    world.runner.prepare(world.folder, other)
    assert world.runner.planned(world.folder) == other
    world.runner.start(world.folder, other)
    assert [step.exit_code for step in world.end().steps] == [3]
    with pytest.raises(RunnerError):
        world.runner.discard(world.folder)


def test_a_prepared_phase_gets_another_limit(world: Runner) -> None:
    plan = world.plan(0, seconds=LONG_S)
    world.runner.prepare(world.folder, plan)
    shorter = replace(plan, limits=replace(plan.limits, wall_ms=300))
    for _ in range(2):
        world.runner.amend(world.folder, shorter)
    assert world.runner.planned(world.folder) == shorter
    world.runner.start(world.folder, shorter)
    record = world.end()
    assert record.ended is PhaseEnd.FAILED and record.steps[-1].ended_by is StepEndedBy.WALL


def test_set_up_that_fails_ends_the_phase(world: Runner) -> None:
    plan = world.plan(3, 0, kind=StepKind.SETUP)
    world.runner.start(world.folder, plan)
    record = world.end()
    assert record.ended is PhaseEnd.FAILED and [step.exit_code for step in record.steps] == [3]


def test_gates_go_on_after_one_that_fails(world: Runner) -> None:
    plan = world.plan(0, 3, 0, kind=StepKind.GATE)
    world.runner.start(world.folder, plan)
    record = world.end()
    assert record.ended is PhaseEnd.FAILED and [step.exit_code for step in record.steps] == [0, 3, 0]


def test_a_stop_before_the_start(world: Runner) -> None:
    plan = world.plan(0)
    world.runner.prepare(world.folder, plan)
    world.runner.stop(world.folder, "no more")
    world.runner.stop(world.folder, "second thoughts")
    assert world.runner.look(world.folder) == NotStarted()
    world.runner.start(world.folder, plan)
    record = world.end()
    assert record.ended is PhaseEnd.STOPPED and record.steps == () and record.reason == "before step s0"
    assert not (world.cwd / "ran").exists()


def test_a_stop_while_it_runs(world: Runner) -> None:
    plan = world.plan(0, seconds=LONG_S)
    world.runner.start(world.folder, plan)
    assert isinstance(world.runner.look(world.folder), Running)
    until(world.has_begun, "the step has begun")
    world.runner.stop(world.folder, "enough")
    record = world.end()
    assert record.ended is PhaseEnd.STOPPED and record.reason == "in step s0"
    assert record.steps[-1].ended_by is StepEndedBy.STOP


def test_a_shim_that_is_gone(world: Runner) -> None:
    plan = world.plan(0, seconds=LONG_S)
    world.runner.start(world.folder, plan)
    world.kill()
    seen = world.runner.look(world.folder)
    assert isinstance(seen, Vanished) and not seen.rebooted
    world.runner.sweep(MARKER)
    world.runner.start(world.folder, plan)  # it had its one start
    assert isinstance(world.runner.look(world.folder), Vanished)
    assert world.runner.sweep(MARKER) == 0


def test_a_plan_that_is_forgotten(world: Runner) -> None:
    plan = world.plan(0)
    world.runner.start(world.folder, plan)
    world.end()
    world.runner.forget(world.folder)
    world.runner.forget(world.folder)
    assert world.runner.planned(world.folder) is None
    world.runner.start(world.folder, plan)  # it had its one start
    assert not isinstance(world.runner.look(world.folder), NotStarted | Running)
    world.runner.forget(world.folder.parent / "gates")  # there never was one


def test_markers_are_identities() -> None:
    assert str(AttemptId.parse(MARKER)) == MARKER
