"""What stands beside the outcome of a run, so that nobody takes it for more than it is."""

from __future__ import annotations

import pytest

from node_agent.wire.receipt import GateResult
from pancode.interfaces.cli.follow import format_summary
from pancode.runs import views as query
from tests.unit.pancode.runs.world import Desk, Puppet


@pytest.mark.parametrize(
    ("change", "gates", "notes"),
    [
        ("empty", (), ["no change", "no gates"]),
        ("no_change", (), ["no change", "no gates"]),
        ("change", (), ["no gates"]),
        ("empty", ({"name": "g", "argv": ["true"]},), ["no change", "gates passed"]),
    ],
)
def test_done_without_change_and_gate_says_both(
    change: str, gates: tuple[dict[str, object], ...], notes: list[str]
) -> None:
    """`no change, no gates` stands beside `done` wherever a run is told of."""
    coordinator = Desk()
    node = Puppet(coordinator)
    node.breathe()
    workspace = {
        "kind": "git",
        "repo": "demo-1234",
        "base": None,
        "snapshot": "a" * 40,
        "object_format": "sha1",
    }
    coordinator.dispatch(project="/p", workspace=workspace, gates=gates)
    coordinator.turn()
    job = node.take()
    passed = tuple(
        GateResult(name="g", argv=("true",), passed=True, exit_code=0, duration_ms=1) for _ in gates
    )
    commit = "c" * 40 if change == "change" else None
    coordinator.depot.commits.add("c" * 40)
    node.carry_out(job, change=change, gates=passed, commit=commit)
    shape = query.get_run_shape(coordinator.core, "last")
    assert (shape["outcome"], shape["notes"]) == ("done", notes)
    assert f"done ({', '.join(notes)})" in format_summary(query.get_run_detail(coordinator.core, "last"))
