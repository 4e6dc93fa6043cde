"""Plans which steps the shim runs for a job, where their output is written, and their limits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from node_agent.attempt.accept import NO_CEILING, Ceiling
from node_agent.attempt.ports import Launch
from node_agent.intervals import Intervals
from node_agent.shim.spool import AGENT_ONLY, ExitRecord, Grace, PhaseLimits, PhasePlan, Step, StepKind
from node_agent.wire.job import Job

SETUP, WORK, GATES, ANEW, AGAIN = "set-up", "work", "gates", "anew", "again"
"""The phases of an attempt, each with its own shim and folder; the agent's is the attempt's folder. `anew`:
set-up for the gates, in a new checkout of the result. `again`: a gate that failed there, among the files that
the agent left."""
OUT, ERR, SETUP_LOG, GATES_LOG, ANSWER, SCORE = "out", "err", "setup", "gates.log", "answer", "score"
STREAMS = (OUT, ERR, SETUP_LOG, GATES_LOG, ANSWER, SCORE)
"""Outputs in an attempt's folder, by the names under which they are sent to the depot."""
SHOWN, SHOWN_BY_LINES = ".shown2", ".shown"
"""Suffixes of an output's copy without secrets, which is sent to the depot. The second is from older agents,
which did not join an agent's text across lines; such a copy keeps its suffix."""
STDIN = "task"
"""The agent's input: a file in the attempt's folder, where set-up cannot replace it."""
BASELINE, RESTORED, JUDGED, OWN_LOG = "baseline", "restored", "judged", "gate.log"
"""Files in an attempt's folder: the name of the state of the gates' checkout after set-up, the log of what
is restored there, the verdict while a gate is repeated, and the output of the present gate."""
KEPT = (
    BASELINE,
    RESTORED,
    JUDGED,
    OWN_LOG,
    *STREAMS,
    *(name + end for name in STREAMS for end in (SHOWN, SHOWN_BY_LINES)),
    STDIN,
)
"""Files that are deleted once the receipt is acknowledged."""
RUN, DEPTH = "PANCODE_RUN", "PANCODE_DEPTH"
"""Variables of every phase; no other setting overrides them."""
PORT = "PANCODE_PORT_"
"""With a number from 1: the variable of a port that only this run gets."""
LEAST_WALL_MS = 1_000
"""The minimum time limit of a phase that starts while any time is left."""


def work_plan(
    job: Job,
    launch: Launch,
    work: Path,
    folder: Path,
    intervals: Intervals,
    ceiling: Ceiling = NO_CEILING,
    ports: Sequence[int] = (),
) -> PhasePlan:
    """Return the plan of the agent's phase. Its limits do not exceed those of the ceiling. `ports`: the
    ports that only this run gets."""
    marker = str(job.identity)
    stdin = str(folder / STDIN) if launch.stdin else None
    agent = Step("agent", StepKind.AGENT, launch.argv, str(folder / OUT), str(folder / ERR), stdin)
    # RUN and DEPTH identify the parent of a run that a program dispatches from inside this run.
    return PhasePlan(
        id=marker,
        phase=WORK,
        marker=marker,
        cwd=str(work),
        below=job.workspace.folder,
        env={
            **launch.env,
            RUN: job.identity.run,
            DEPTH: str(job.depth),
            **{f"{PORT}{n}": str(port) for n, port in enumerate(ports, 1)},
        },
        steps=(agent,),
        limits=limits_of(job, ceiling),
        grace=Grace(intervals.grace_int_ms, intervals.grace_term_ms),
    )


def needs_sandbox(plan: PhasePlan) -> bool:
    """Whether the phase runs in a sandbox: either all of its steps do, or none."""
    return any(step.walled or step.wall for step in plan.steps)


def setup_plan(job: Job, work: PhasePlan, folder: Path, phase: str = SETUP) -> PhasePlan:
    """Return the plan of the set-up commands, with the agent's checkout and environment. A build may be
    silent, so set-up and gates have no idle limit, only the wall limit."""
    log = str(folder / SETUP_LOG)
    steps = tuple(Step(f"setup {n}", StepKind.SETUP, argv, log, log) for n, argv in enumerate(job.setup, 1))
    limits = replace(work.limits, idle_ms=None)
    return replace(work, phase=phase, steps=steps, env=_without_logins(work.env), below="", limits=limits)


def time_left(job: Job, before: Iterable[ExitRecord]) -> int:
    """Return the milliseconds of the attempt's time limit that the earlier phases left; 0 if none."""
    left = job.limits.wall_ms - sum(one.ended_mono_ms - one.began_mono_ms for one in before)
    return max(left, LEAST_WALL_MS) if left > 0 else 0


def gates_plan(job: Job, work: PhasePlan, folder: Path, intervals: Intervals, wall_ms: int) -> PhasePlan:
    """Return the plan of the gates, in order, and of the score command, in the agent's environment."""
    own, score, log = f"{folder}/{OWN_LOG}", f"{folder}/{SCORE}", f"{folder}/{GATES_LOG}"
    # A gate may have a longer name than a step.
    steps = [
        Step(f"gate {n + 1}", StepKind.GATE, gate.argv, own, own, joins=log)
        for n, gate in enumerate(job.gates)
    ]
    if job.score is not None:
        steps.append(Step("score", StepKind.GATE, job.score, score, own, joins=log))
    return PhasePlan(
        id=str(job.identity),
        phase=GATES,
        marker=str(job.identity),
        cwd=work.cwd,
        env=_without_logins(work.env),
        steps=tuple(steps),
        limits=replace(work.limits, wall_ms=wall_ms, idle_ms=None),
        grace=Grace(intervals.grace_int_ms, intervals.grace_term_ms),
        go_on=True,
    )


def again_plan(gates: PhasePlan, number: int) -> PhasePlan:
    """Return the plan that repeats one step of the gates. Its output is not part of their log."""
    return replace(gates, phase=AGAIN, steps=(replace(gates.steps[number], joins=""),))


def _without_logins(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the agent's credentials, which no other program or plan may contain."""
    own = {AGENT_ONLY, *env.get(AGENT_ONLY, "").split()}
    return {name: value for name, value in env.items() if name not in own}


def limits_of(job: Job, ceiling: Ceiling) -> PhaseLimits:
    """Return the limits of the job, lowered to those of the ceiling."""
    own = job.limits
    memory, processes = (
        _find_least(own.memory_bytes, ceiling.memory),
        _find_least(own.processes, ceiling.processes),
    )
    disk = _find_least(own.disk_bytes, ceiling.disk)
    return PhaseLimits(own.wall_ms, own.idle_ms, own.output_bytes, memory, processes, disk)


def _find_least(*limits: int | None) -> int | None:
    return min((one for one in limits if one is not None), default=None)
