"""A rate limit moves a run to another provider, where nobody has chosen one and a node has another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.node import RuntimeFact
from node_agent.wire.receipt import ModelCalls
from pancode.kernel.records import Run
from pancode.runs.facts import ModelChoice
from pancode.runs.placement import breaker_service
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts, failed

BUSY: dict[str, Any] = {
    **failed(FailureKind.MODEL_BUSY, Outcome.INFRA),
    "calls": ModelCalls(requests=3, failed=3, retry_ms=3_600_000),
}


class Limited:
    """A node with two vendors' programs; the first one's vendor turns calls away."""

    def __init__(self, home: Path, *runtimes: str) -> None:
        self.world = World(home)
        self.node, self.desk = self.world.node, self.world.context
        self.node.facts = facts(runtimes=tuple(RuntimeFact(name=one, state="ok") for one in runtimes))
        self.node.breathe()

    def dispatched(self, **more: Any) -> Run:
        body = {"task": "fix the parser", "workspace": "none", "told_only": True, **more}
        answer = self.world.http.post("/v1/runs", body)
        assert answer.status_code == 201, answer.text
        self.desk.turn()
        run: Run = self.desk.row(Run, answer.json()["run"])
        return run

    def turned_away(self) -> None:
        self.node.carry_out(**BUSY)
        self.node.heartbeat()
        self.desk.turn()


def test_it_goes_on_at_once_with_another_provider(tmp_path: Path) -> None:
    fleet = Limited(tmp_path, "claude", "codex")
    run = fleet.dispatched()
    assert run.runtime == "claude" and ModelChoice.of(run).other["runtime"] == "codex"
    fleet.turned_away()
    job = fleet.node.take()
    assert job.runtime == "codex" and job.identity.attempt == 2
    shown = breaker_service.read_breakers(fleet.desk.core)
    assert [one.name for one in shown if one.state != "closed"] == ["provider:anthropic"]
    fleet.node.carry_out(job)
    ended: Run = fleet.desk.row(Run, run.id)
    assert (ended.outcome, ended.runtime) == (Outcome.DONE, "codex")
    fleet.desk.check_books()
    fleet.desk.restart()
    shown = breaker_service.read_breakers(fleet.desk.core)
    assert [one.name for one in shown if one.state != "closed"] == ["provider:anthropic"], (
        "after a restart, too"
    )


@pytest.mark.parametrize(
    ("runtimes", "more"),
    [
        (("claude",), {}),
        (("claude", "codex"), {"runtime": "claude"}),
        (("claude", "codex"), {"model": "anthropic/claude-sonnet-4-5"}),
        (("claude", "codex"), {"agent": "builder"}),
    ],
)
def test_whoever_has_chosen_waits_for_the_reset(
    tmp_path: Path, runtimes: tuple[str, ...], more: dict[str, Any]
) -> None:
    fleet = Limited(tmp_path, *runtimes)
    run = fleet.dispatched(**more)
    assert "other" not in run.terms
    fleet.turned_away()
    waits: Run = fleet.desk.row(Run, run.id)
    assert fleet.node.claim() is None and waits.runtime == "claude"
    assert (waits.retry_at_ms or 0) - fleet.desk.clock.wall_ms() > 3_500_000


@pytest.mark.parametrize("is_login", [False, True])
def test_a_limit_that_only_the_output_tells_counts_for_no_key(tmp_path: Path, is_login: bool) -> None:
    fleet = Limited(tmp_path, "claude")
    run = fleet.dispatched()
    calls = ModelCalls(requests=3, failed=3, subscription=is_login)
    fleet.node.carry_out(**{**BUSY, "calls": calls, "resets_ms": 3_600_000})
    fleet.desk.turn()
    waits: Run = fleet.desk.row(Run, run.id)
    assert ((waits.retry_at_ms or 0) - fleet.desk.clock.wall_ms() > 3_500_000) is is_login
