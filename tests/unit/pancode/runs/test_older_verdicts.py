"""What another node said of a result in an older version is still shown, and lands nothing by itself."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.receipt import GateResult
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.landing.queue import list_landable
from pancode.runs import views as query
from pancode.runs.receipts.trust import KEPT, find_missing_verdict, landing_of, read_tested
from pancode.runs.request import request_from
from tests.unit.pancode.landing.test_asked import LandingWorld

GATES: Any = ({"name": "true", "argv": ["true"]},)
PASSED = (GateResult(name="true", argv=("true",), passed=True, exit_code=0, duration_ms=1),)
DISPUTED = {"state": "disputed", "why": "on n2: true: exit 1", "waits": False}
WAITS = {"state": "partly", "why": "r-2 runs the gates", "waits": True}


@pytest.fixture
def world() -> LandingWorld:
    made = LandingWorld(gates=GATES, land=False)
    made.end(gates=PASSED)
    return made


@pytest.mark.parametrize(
    ("row", "state", "lands"),
    [
        (None, "partly", False),
        ({"state": "verified", "why": "on n1 and n2", "waits": False}, "verified", True),
        (DISPUTED, "disputed", False),
        (WAITS, "partly", False),
        ({**WAITS, "earlier": [DISPUTED]}, "disputed", False),
    ],
)
def test_a_verdict_is_shown_and_one_that_is_missing_holds_the_landing(
    world: LandingWorld, row: dict[str, Any] | None, state: str, lands: bool
) -> None:
    core = world.coordinator.core
    run = world.coordinator.row(Run, "r-0001")
    with world.coordinator.ledger.transaction() as tx:
        tx.put(replace(run, result={**run.result, **({} if row is None else {KEPT: row})}))
    run = world.coordinator.row(Run, "r-0001")
    seen = read_tested(run)
    assert seen is not None and seen.state == state
    assert (find_missing_verdict(replace(run, terms={"verify_on": "other"})) == "") == lands
    assert find_missing_verdict(run) == "", "nobody asked for another node"
    shown = query.get_run_shape(core, "r-0001")["verification"]
    assert shown == {"state": state, "why": seen.why}
    assert bool(list_landable(core, "/p")) == (state != "disputed")
    landing = landing_of(replace(run, land=True))
    assert landing is not None and (landing["status"] == "not landed") == bool(row and row["waits"])


def test_a_stored_request_that_named_a_node_waits_for_the_user() -> None:
    assert request_from({"task": "x", "verify_on": "other", "land": True}, "ana").land is False
    assert request_from({"task": "x", "verify_on": "none", "land": True}, "ana").land is True
