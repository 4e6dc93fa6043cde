"""The six lines of `pancode status --metrics`."""

from __future__ import annotations

from pancode.reports.answers import FigureShape
from pancode.reports.commands.metrics import six_lines


def figure(name: str, value: float, **labels: str) -> FigureShape:
    return {"name": name, "value": value, "labels": labels}


def test_a_fleet_at_work() -> None:
    told = six_lines(
        [
            figure("pancode_nodes", 2, state="up"),
            figure("pancode_nodes", 0, state="draining"),
            figure("pancode_nodes", 1, state="lost"),
            figure("pancode_node_slots", 4, node="a"),
            figure("pancode_node_slots", 8, node="b"),
            figure("pancode_node_slots_used", 3, node="a"),
            figure("pancode_node_problems", 1, node="b"),
            figure("pancode_runs", 3, state="running"),
            figure("pancode_runs_ended_total", 7, outcome="done", runtime="native", node="a"),
            figure("pancode_runs_ended_total", 2, outcome="done", runtime="shell", node="b"),
            figure("pancode_queue_waiting", 2, queue="work", node=""),
            figure("pancode_queue_oldest_seconds", 150, queue="work", node=""),
            figure("pancode_agent_runs_total", 12, agent="builder"),
            figure("pancode_agent_tokens_total", 1_234_000, agent="builder"),
            figure("pancode_agent_busy_seconds_total", 7_200, agent="builder"),
            figure("pancode_budget_ceiling_usd", 10),
            figure("pancode_budget_spent_usd", 1.25),
            figure("pancode_budget_held_usd", 0.5),
            figure("process_resident_memory_bytes", 80 * 2**20),
            figure("pancode_round_age_seconds", 0.4),
        ]
    )
    assert told.splitlines() == [
        "nodes        2 up, 1 lost; 3 of 12 slots, 1 problem",
        "runs         3 running; ended: 9 done",
        "queue        2 waiting, the oldest for 2 min",
        "work         12 runs in total, 1.2 M tokens, 2 h",
        "money        today $1.25 spent, $0.50 reserved, of $10.00",
        "coordinator  80 M of memory, checked the queue 0.4 s ago",
    ]


def test_an_empty_fleet() -> None:
    lines = six_lines([]).splitlines()
    assert len(lines) == 6
    assert lines[0] == "nodes        none; 0 of 0 slots, 0 problems"
    assert lines[4] == "money        today $0.00 spent, $0.00 reserved, no ceiling"
