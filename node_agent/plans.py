"""Decides which steps the shim runs for an order, where their output goes, and what ends them. Pure."""

from __future__ import annotations

from pathlib import Path

from node_agent.ports import Launch
from node_agent.spool import Grace, Limits, Plan, Step, StepKind
from node_agent.tempo import Tempo
from node_agent.wire.order import Order

WORK, GATES = "work", "gates"
OUT, ERR, SETUP_LOG, GATES_LOG = "out", "err", "setup", "gates.log"
STREAMS = (OUT, ERR, SETUP_LOG, GATES_LOG)
"""Outputs in an attempt's folder, by the names under which the depot gets them."""
STDIN = ".task"
"""In the run's home: what the agent reads as its standard input."""


def work_plan(order: Order, launch: Launch, work: Path, home: Path, folder: Path, tempo: Tempo) -> Plan:
    """Set-up steps, then the agent."""
    marker, log = str(order.identity), str(folder / SETUP_LOG)
    steps = [
        Step(f"setup {number}", StepKind.SETUP, argv, log, log) for number, argv in enumerate(order.setup, 1)
    ]
    stdin = None if launch.stdin is None else str(home / STDIN)
    agent = Step("agent", StepKind.AGENT, launch.argv, str(folder / OUT), str(folder / ERR), stdin)
    return Plan(
        id=marker,
        phase=WORK,
        marker=marker,
        cwd=str(work),
        env=dict(launch.env),
        steps=(*steps, agent),
        limits=_limits(order),
        grace=Grace(tempo.grace_int_ms, tempo.grace_term_ms),
    )


def gates_plan(order: Order, work: Plan, folder: Path, tempo: Tempo) -> Plan:
    """Every gate, one after the other, in the checkout and environment of the agent."""
    log = str(folder / GATES_LOG)
    return Plan(
        id=str(order.identity),
        phase=GATES,
        marker=str(order.identity),
        cwd=work.cwd,
        env=work.env,
        steps=tuple(Step(_step_name(n), StepKind.GATE, g.argv, log, log) for n, g in enumerate(order.gates)),
        limits=_limits(order),
        grace=Grace(tempo.grace_int_ms, tempo.grace_term_ms),
        go_on=True,
    )


def _step_name(number: int) -> str:
    """A gate's own name may be longer than a step's may be."""
    return f"gate {number + 1}"


def _limits(order: Order) -> Limits:
    return Limits(order.limits.wall_ms, order.limits.idle_ms, order.limits.output_bytes)
