"""An outage that a run lived through stands in its story."""

from __future__ import annotations

from pancode.reports import timeline
from tests.unit.pancode.runs.world import Desk, Puppet


def told(coordinator: Desk, run: str) -> list[str]:
    lines = timeline.explain_run(coordinator.core, run)["decisions"]
    return [f"{d['what']} {d['verdict']}" for d in lines if d["kind"] == "node"]


def test_the_node_was_away_and_came_back_while_the_run_was_at_work() -> None:
    coordinator = Desk()
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch("r-0001", node="n1")
    coordinator.turn()
    job = node.take()
    node.start(job)
    node.open = [job.identity]
    node.breathe()
    assert "n1 not heard" not in told(coordinator, "r-0001")
    for _ in range(6):
        coordinator.turn(10_000)
    assert told(coordinator, "r-0001")[-1:] == ["n1 not heard"]
    assert told(coordinator, "r-0001").count("n1 not heard") == 1
    node.breathe()
    coordinator.turn()
    assert told(coordinator, "r-0001")[-2:] == ["n1 not heard", "n1 heard again"]
    node.deliver(job)
    coordinator.turn()
    assert told(coordinator, "r-0001").count("n1 heard again") == 1
