"""Breakers in the coordinator: nodes that rest, one probe, a reset, the memory after a restart."""

from __future__ import annotations

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.config.fleet_settings import reset_breaker
from pancode.kernel.errors import NotFoundError
from pancode.kernel.records import Audit, Run
from pancode.runs.placement.breaker_service import list_breakers
from tests.unit.pancode.runs.world import Desk, Puppet, failed

BROKEN = failed(FailureKind.SANDBOX, Outcome.INFRA)


def _broken(desk: Desk, node: Puppet) -> None:
    """Three runs in a row that the node could not do."""
    for number in range(1, 4):
        desk.dispatch(f"r-000{number}", max_attempts=1)
        desk.turn()
        order = node.take()
        node.start(order)
        node.deliver(order, **BROKEN)
        node.breathe()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def _state(desk: Desk, name: str) -> str:
    return next(one["state"] for one in list_breakers(desk.core) if one["name"] == name)


def _later(desk: Desk, node: Puppet, ms: int) -> None:
    for _ in range(ms // desk.rules.heartbeat_ms + 1):
        node.breathe()


def test_a_node_with_an_open_breaker_gets_one_run_after_its_pause(desk: Desk) -> None:
    node = Puppet(desk)
    node.breathe()
    _broken(desk, node)
    assert _state(desk, "node:n1") == "open"
    desk.dispatch("r-0004")
    desk.dispatch("r-0005")
    _later(desk, node, 10_000)
    assert node.claim() is None
    run = desk.row(Run, "r-0004")
    assert "the breaker of node:n1 is open until" in run.reason, run.reason
    _later(desk, node, 60_000)
    probe = node.take()
    assert probe.identity.run == "r-0004"
    assert node.claim() is None, "one probe at a time"
    assert "lets one run through" in desk.row(Run, "r-0005").reason
    node.start(probe)
    node.deliver(probe)
    _later(desk, node, 5_000)
    assert _state(desk, "node:n1") == "closed"
    after = node.take()
    assert after.identity.run == "r-0005"


def test_a_probe_that_has_begun_well_holds_up_nobody(desk: Desk) -> None:
    """It may be an interactive run, which does not end while somebody talks with it."""
    node = Puppet(desk)
    node.breathe()
    _broken(desk, node)
    desk.dispatch("r-0004")
    desk.dispatch("r-0005")
    _later(desk, node, 70_000)
    probe = node.take()
    assert node.claim() is None
    node.start(probe)
    _later(desk, node, 5_000)
    after = node.take()
    assert after.identity.run == "r-0005"


def test_an_open_breaker_outlives_a_restart_and_so_does_its_reset(desk: Desk) -> None:
    node = Puppet(desk)
    node.breathe()
    _broken(desk, node)
    desk.restart()
    assert _state(desk, "node:n1") == "open"
    reset_breaker(desk.core, "node:n1", "test")
    (row,) = [one for one in desk.rows(Audit, domain="people") if one.what == "breaker reset"]
    assert row.detail == {"by": "test", "breaker": "node:n1"}
    assert _state(desk, "node:n1") == "closed"
    desk.restart()
    assert _state(desk, "node:n1") == "closed"
    with pytest.raises(NotFoundError, match="node:n2"):
        reset_breaker(desk.core, "node:n2", "test")
