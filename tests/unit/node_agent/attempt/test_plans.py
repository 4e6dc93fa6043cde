"""What each phase of an attempt is given: its steps, its time, its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.attempt.accept import Ceiling
from node_agent.attempt.plans import (
    DEPTH,
    GATES,
    KEPT,
    RUN,
    SETUP,
    STDIN,
    WORK,
    gates_plan,
    setup_plan,
    time_left,
    work_plan,
)
from node_agent.attempt.ports import Launch
from node_agent.intervals import Intervals
from node_agent.shim import process
from node_agent.shim.spool import AGENT_ONLY, ExitRecord, PhaseEnd, StepKind
from node_agent.wire.job import Limits
from tests.unit.node_agent.stage import gates, job_of

FOLDER = Path("/j")
LIMITS = Limits(wall_ms=10_000, idle_ms=7, output_bytes=8)
JOB = job_of(setup=(("make", "env"), ("npm", "ci")), gates=gates("test"), limits=LIMITS)
ENV = {"PATH": "/bin", "KEY": "k", "DATABASE": "d", AGENT_ONLY: "KEY"}
OWN = {RUN: JOB.identity.run, DEPTH: "0"}
PLAN = work_plan(JOB, Launch(("agent",), ENV), Path("/w"), FOLDER, Intervals())


def test_each_phase_has_its_own_steps() -> None:
    before = setup_plan(JOB, PLAN, FOLDER)
    after = gates_plan(JOB, PLAN, FOLDER, Intervals(), 4_000)
    assert [(plan.phase, [s.kind for s in plan.steps]) for plan in (before, PLAN, after)] == [
        (SETUP, [StepKind.SETUP, StepKind.SETUP]),
        (WORK, [StepKind.AGENT]),
        (GATES, [StepKind.GATE]),
    ]
    assert [plan.limits.wall_ms for plan in (before, PLAN, after)] == [10_000, 10_000, 4_000]
    assert all(plan.limits.output_bytes == 8 for plan in (before, PLAN, after))


def test_silence_ends_the_agent_alone() -> None:
    """A build or a test may be silent for as long as the run may last."""
    before, after = setup_plan(JOB, PLAN, FOLDER), gates_plan(JOB, PLAN, FOLDER, Intervals(), 4_000)
    assert [plan.limits.idle_ms for plan in (before, PLAN, after)] == [None, 7, None]


def test_every_phase_is_held_to_what_the_node_lets_a_run_take() -> None:
    top = Ceiling(memory=1 << 30, processes=300, disk=1 << 33)
    work = work_plan(JOB, Launch(("agent",), ENV), Path("/w"), FOLDER, Intervals(), top)
    for plan in (setup_plan(JOB, work, FOLDER), work, gates_plan(JOB, work, FOLDER, Intervals(), 1)):
        held = (plan.limits.memory_bytes, plan.limits.processes, plan.limits.disk_bytes)
        assert held == (1 << 30, 300, 1 << 33)


@pytest.mark.parametrize(
    ("asked", "allowed", "held"), [(5, None, 5), (None, 7, 7), (5, 7, 5), (9, 7, 7), (None, None, None)]
)
def test_a_job_may_ask_for_less_than_the_node_allows(
    asked: int | None, allowed: int | None, held: int | None
) -> None:
    limits = LIMITS.model_copy(update={"memory_bytes": asked, "processes": asked, "disk_bytes": asked})
    top = Ceiling().model_copy(update={"memory": allowed, "processes": allowed, "disk": allowed})
    plan = work_plan(job_of(limits=limits), Launch(("agent",), ENV), Path("/w"), FOLDER, Intervals(), top)
    assert (plan.limits.memory_bytes, plan.limits.processes, plan.limits.disk_bytes) == (held, held, held)


def test_what_the_agent_reads_lies_beside_its_outputs() -> None:
    """Not in its home, which is set-up's too: it could read other words than the receipt names."""
    (agent,) = work_plan(JOB, Launch(("agent",), ENV, b"words"), Path("/w"), FOLDER, Intervals()).steps
    assert agent.stdin == "/j/task" and STDIN in KEPT
    assert PLAN.steps[0].stdin is None
    for plan in (setup_plan(JOB, PLAN, FOLDER), gates_plan(JOB, PLAN, FOLDER, Intervals(), 1)):
        assert all(step.stdin is None for step in plan.steps)


def test_what_logs_the_agent_in_is_in_no_other_plan() -> None:
    """A secret that the repository named, and its owner allowed, stays."""
    assert AGENT_ONLY == process.AGENT_ONLY
    assert PLAN.env == {**ENV, **OWN}
    for plan in (setup_plan(JOB, PLAN, FOLDER), gates_plan(JOB, PLAN, FOLDER, Intervals(), 1)):
        assert plan.env == {"PATH": "/bin", "DATABASE": "d", **OWN}


def test_every_phase_knows_its_run_and_nothing_can_say_otherwise() -> None:
    deep = job_of(depth=1, setup=(("true",),), gates=gates("test"))
    forged = Launch(("agent",), {"PATH": "/bin", RUN: "r-other", DEPTH: "0"})
    work = work_plan(deep, forged, Path("/w"), FOLDER, Intervals())
    for plan in (setup_plan(deep, work, FOLDER), work, gates_plan(deep, work, FOLDER, Intervals(), 1)):
        assert plan.env == {"PATH": "/bin", "PANCODE_RUN": deep.identity.run, "PANCODE_DEPTH": "1"}


@pytest.mark.parametrize(
    ("used", "left"),
    [
        ((), 10_000),
        ((3_000,), 7_000),
        ((3_000, 6_500), 1_000),
        ((9_999,), 1_000),
        ((10_000,), 0),
        ((20_000,), 0),
    ],
)
def test_time_left(used: tuple[int, ...], left: int) -> None:
    """A little is rounded up to what a phase needs at least; nothing stays nothing."""
    ended = [ExitRecord("i", "p", "b", PhaseEnd.DONE, "", True, 0, 0, 0, 500, 0, 500 + ms, ()) for ms in used]
    assert time_left(JOB, ended) == left


def test_every_phase_knows_the_runs_ports() -> None:
    work = work_plan(JOB, Launch(("agent",), ENV), Path("/w"), FOLDER, Intervals(), ports=(7001, 7002))
    for plan in (setup_plan(JOB, work, FOLDER), work, gates_plan(JOB, work, FOLDER, Intervals(), 1)):
        assert (plan.env["PANCODE_PORT_1"], plan.env["PANCODE_PORT_2"]) == ("7001", "7002")
