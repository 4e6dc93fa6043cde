"""What sessions may cost: a sitting holds its cap, a session has a ceiling, and all of it is told."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.event import Progress
from node_agent.wire.node import RuntimeFact
from node_agent.wire.order import Order
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import RestReason, Usage
from pancode.core.records import Balance
from tests.unit.pancode.api.test_door import DoorWorld
from tests.unit.pancode.api.test_sessions import begin, record, say, session, sitting
from tests.unit.pancode.api.world import World
from tests.unit.pancode.control.world import facts


@pytest.fixture
def world(tmp_path: Path) -> DoorWorld:
    made = DoorWorld(tmp_path)
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in ("native", "shell"))
    made.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    made.node.breathe()
    return made


def used(usd: str) -> Usage:
    return Usage(input_tokens=1_000, output_tokens=10, cost_usd=Decimal(usd), cost_source="metered")


def rests(world: World, order: Order, usd: str, **more: Any) -> None:
    turn = record(1, 0).model_copy(update={"usage": used(usd)})
    given = {"turns": (turn,), "rests": RestReason.IDLE, "usage": used(usd), "session": "s-1", **more}
    world.node.deliver(order, **given)
    world.context.turn()


def books(world: World, scope: str) -> tuple[Decimal, Decimal]:
    balance = world.context.row(Balance, scope)
    return balance.spent_usd, balance.held_usd


def test_a_sitting_holds_its_cap_and_is_settled_when_it_rests(world: World) -> None:
    run = begin(world)["run"]
    order = sitting(world)
    assert order.limits.usd == 2
    assert books(world, f"session:{run}") == (Decimal(0), Decimal(2)) == books(world, "node:n1")
    rests(world, order, "0.30")
    assert books(world, f"session:{run}") == (Decimal("0.30"), Decimal(0))
    shown = session(world, run)
    assert shown["turn"] == {
        **{"number": 1, "stop": "end_turn", "why": ""},
        **{"tokens": 1_010, "cost_usd": "0.30", "cost_source": "metered"},
    }
    assert shown["money"] == {"ceiling_usd": None, "left_usd": None, "sitting_usd": "2"}


def test_a_session_has_a_ceiling_of_all_its_sittings(world: World) -> None:
    run = begin(world, budget="2.50")["run"]
    order = sitting(world)
    assert order.limits.usd == 2
    body = Progress(input_tokens=5, output_tokens=5, cost_usd=Decimal("0.70"), tool_calls=0, log_bytes=0)
    world.node.say(order.identity, body)
    world.context.turn()
    assert session(world, run)["money"]["left_usd"] == "1.80", "what its node has told counts at once"
    rests(world, order, "1.50")
    second = say(world, run, "go on")["run"]
    order = sitting(world)
    assert (order.limits.usd, session(world, run)["money"]["left_usd"]) == (Decimal(1), "1.00")
    rests(world, order, "1.00")
    full = world.http.post(f"/v1/sessions/{run}/words", {"text": "more", "by": "ana"})
    assert full.status_code == 409 and full.json()["code"] == "refused_budget"
    assert f"nothing is left for session {run} (spent: $2.50, held: $0.00, ceiling: $2.50)" in full.text
    assert full.json()["fix"] == f"pancode budget set 4 --scope session:{run}"
    set_to = {"scope": f"session:{second}", "usd": "4", "by": "ana"}
    assert world.http.post("/v1/budget/ceiling", set_to).status_code == 200, "by any of its runs"
    say(world, run, "more")
    assert sitting(world).limits.usd == Decimal("1.50")
    (row,) = (one for one in world.http.get("/v1/budget?all=1").json()["scopes"] if "session" in one["scope"])
    assert (row["ceiling_usd"], row["spent_usd"], row["held_usd"]) == ("4", "2.50", "1.50")
    by_session = world.http.get("/v1/cost?by=session").json()
    assert [(one["key"], one["usd"], one["runs"]) for one in by_session["rows"]] == [(run, "2.50", 2)]


def test_every_session_has_the_ceiling_that_was_set_for_all(world: World) -> None:
    assert (
        world.http.post("/v1/budget/ceiling", {"scope": "session", "usd": "1", "by": "ana"}).status_code
        == 200
    )
    run = begin(world)["run"]
    assert sitting(world).limits.usd == 1
    assert session(world, run)["money"]["ceiling_usd"] == "1"
    unset = world.http.post("/v1/budget/ceiling/unset", {"scope": f"session:{run}", "by": "ana"})
    assert unset.status_code == 404, "it has none of its own"
    assert world.http.post("/v1/budget/ceiling/unset", {"scope": "session", "by": "ana"}).status_code == 200
    assert session(world, run)["money"]["ceiling_usd"] is None


def test_the_limit_of_a_headless_run_is_the_ceiling_of_the_session_that_goes_on_from_it(world: World) -> None:
    dispatched = {"task": "do it", "runtime": "native", "model": "anthropic/claude-sonnet-4-5", "by": "ana"}
    done = world.http.post("/v1/runs", {**dispatched, "workspace": "none", "budget": "0.40"}).json()["run"]
    order = sitting(world)
    world.node.deliver(order, session="s-1", usage=used("0.10"))
    world.context.turn()
    first = say(world, done, "and now?")["run"]
    assert sitting(world).limits.usd == Decimal("0.40")
    assert session(world, first)["money"]["ceiling_usd"] == "0.40"
