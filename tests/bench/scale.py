"""Rows s: one coordinator with many simulated nodes, a long queue, a long history; its own processor time."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from pancode.reports.brief import make_brief, make_report
from pancode.reports.cost_report import report_cost
from pancode.runs.lists import since_ms
from tests.bench.crowd import Crowd, idle_percent, run_ms
from tests.bench.figures import Goal, Row

NODES, QUEUED, ENDED = (10, 100, 1_000), 10_000, 100_000
IDLE, RUN_MS, QUEUED_IDLE, DISPATCH_MS, TOLD_MS = 15.0, 60.0, 2.0, 30.0, 300.0
_LIMIT = "Simulated clock and nodes, real control plane, ledger and Redis; neither HTTP nor SSH is in it."


def scale(tell: Callable[[str], None], small: bool) -> list[Row]:
    """`small`: a tenth of each size, for a look."""
    part = 10 if small else 1
    rows = []
    for count in (max(4, nodes // part) for nodes in NODES):
        with Crowd(count) as crowd:
            idle = idle_percent(crowd)
            rows += [
                _row(f"s idle {count}", f"idle, {count} nodes", "% of a core", idle, IDLE),
                _row(f"s run {count}", f"a no-op run, {count} nodes", "ms CPU", run_ms(crowd, idle), RUN_MS),
            ]
    with Crowd(4) as crowd:
        crowd.wait_in_line(QUEUED // part)
        crowd.idle(5)
        idle = idle_percent(crowd)
        ms, _ = crowd.measured(lambda: [crowd.dispatch() for _ in range(10)])
        what = f"{QUEUED // part} runs queued"
        rows.append(_row("s queue idle", f"idle, {what}", "% of a core", idle, QUEUED_IDLE))
        rows.append(_row("s queue dispatch", f"a dispatch, {what}", "ms CPU", ms / 10, DISPATCH_MS))
    with Crowd(4) as crowd:
        crowd.has_ended(ENDED // part)
        core = crowd.core
        asked: dict[str, Callable[[], object]] = {
            "cost": lambda: report_cost(core, "agent", since_ms(core, "7d"), 20),
            "brief": lambda: make_brief(core, "bench", "7d"),
            "report": lambda: make_report(core, "bench", "7d"),
        }
        for name, ask in asked.items():
            took = median(_cpu_ms(ask) for _ in range(3))
            rows.append(_row(f"s {name}", f"{name}, {ENDED // part} ended runs", "ms CPU", took, TOLD_MS))
    for row in rows:
        tell(f"{row.key}: {row.ours:.1f} {row.unit}")
    return rows


def _cpu_ms(act: Callable[[], object]) -> float:
    began = time.thread_time()
    act()
    return (time.thread_time() - began) * 1000


def _row(key: str, what: str, unit: str, ours: float, goal: float) -> Row:
    return Row(key, f"coordinator: {what}", unit, ours, goal, f"the goal of {goal:g}", Goal(most=1.0), _LIMIT)
