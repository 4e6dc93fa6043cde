"""The ceiling of a session counts all that it costs: children, calls beyond a cap, and runs before it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.wire.event import Progress
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.kernel.records import Balance, BookEntry, FeedEvent, Run
from pancode.kernel.values import replace
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts
from tests.unit.pancode.sessions.test_session_money import books, rests, used
from tests.unit.pancode.sessions.test_sessions import begin, interactive_run, say, session


@pytest.fixture
def world(tmp_path: Path) -> ListenerWorld:
    made = ListenerWorld(tmp_path)
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in ("native", "shell"))
    made.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    made.node.breathe()
    return made


def left(world: World, run: str) -> Decimal:
    return Decimal(session(world, run)["money"]["left_usd"])


def child_of(world: World, parent: str, usd: str) -> Run:
    """A child of this run, which has cost so much."""
    about = {"task": "a part", "runtime": "native", "model": "anthropic/claude-sonnet-4-5"}
    body = {**about, "workspace": "none", "by": "ana", "depth": 1, "parent": parent}
    asked = world.http.post("/v1/runs", body)
    assert asked.status_code == 201, asked.text
    world.node.deliver(interactive_run(world), usage=used(usd))
    world.context.turn()
    run: Run = world.context.row(Run, asked.json()["run"])
    return run


def test_what_an_interactive_run_dispatches_is_in_the_books_of_its_session(world: World) -> None:
    run = begin(world, budget="2")["run"]
    job = interactive_run(world)
    child = child_of(world, run, "1.00")
    assert (child.limits["usd"], child.terms["charged_to"]) == ("2", run)
    assert not {"session", "turns"} & child.terms.keys(), "it is not an interactive run"
    again = world.http.post(f"/v1/runs/{child.id}/retry", {"by": "ana"}).json()["run"]
    assert world.context.row(Run, again).terms["charged_to"] == run, "its retry, too"
    world.node.deliver(interactive_run(world), usage=used("0.40"))
    world.context.turn()
    rests(world, job, "0.10")
    assert books(world, f"session:{run}") == (Decimal("1.50"), Decimal(0))
    assert left(world, run) == Decimal("0.50")
    say(world, run, "go on")
    job = interactive_run(world)
    assert job.limits.usd == Decimal("0.50"), "no interactive run has a fresh share"
    child = child_of(world, job.identity.run, "0.45")
    rests(world, job, "0.05")
    full = world.http.post(f"/v1/sessions/{run}/words", {"text": "more", "by": "ana"})
    assert full.status_code == 409 and "(spent: $2.00, reserved: $0.00, ceiling: $2.00)" in full.text
    by_session = world.http.get("/v1/cost?by=session").json()["rows"]
    assert [(one["key"], one["usd"]) for one in by_session] == [(run, "2.00")]
    assert [one["run"] for one in session(world, run)["interactive_runs"]] == [run, job.identity.run]


def test_what_interactive_runs_spend_beyond_their_caps_counts_for_the_session(world: World) -> None:
    said = used("2.90").model_copy(update={"cost_source": "reported"})
    run = begin(world, budget="5")["run"]
    rests(world, interactive_run(world), "2.90", usage=said)
    assert left(world, run) == Decimal("2.10")
    second = say(world, run, "go on")["run"]
    rests(world, interactive_run(world), "2.90", usage=said)
    assert left(world, run) == Decimal("0")
    full = world.http.post(f"/v1/sessions/{run}/words", {"text": "more", "by": "ana"})
    assert full.status_code == 409
    assert "$1.80" in full.text
    settle, raised = full.json()["fix"].split("; or ")
    assert settle.startswith(f"enter what {run} cost: pancode budget settle {run} --usd X")
    assert raised == f"pancode budget set 7 --scope session:{run}"
    for one in (run, second):
        done = world.http.post("/v1/budget/settle", {"run": one, "usd": "2.10", "by": "ana"})
        assert done.status_code == 200, done.text
    assert left(world, run) == Decimal("0.80")


def test_a_budget_above_the_ceiling_of_all_sessions_is_that_of_the_session(world: World) -> None:
    world.http.post("/v1/budget/ceiling", {"scope": "session", "usd": "1", "by": "ana"})
    run = begin(world, budget="5")["run"]
    assert interactive_run(world).limits.usd == 2
    assert session(world, run)["money"]["ceiling_usd"] == "5"


def test_a_session_of_before_there_were_books_of_sessions_keeps_its_limit(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    scope = f"session:{run}"
    with unit_of_work(world.context.core) as work:  # as an older version has left it
        first = work.tx.get(Run, run)
        assert first is not None
        work.tx.put(replace(first, limits={**first.limits, "usd": "0.50"}))
        for entry in work.tx.find(BookEntry, {"scope": scope}):
            work.tx.delete(BookEntry, entry.id)
        work.tx.delete(Balance, scope)
    body = Progress(input_tokens=5, output_tokens=5, cost_usd=Decimal("0.20"), tool_calls=0, log_bytes=0)
    world.node.say(job.identity, body)
    world.context.turn()
    assert left(world, run) == Decimal("0.30"), "no hold is subtracted that its books do not have"
    rests(world, job, "0.20")
    for cost, rest in (("0.10", "0.30"), ("0.10", "0.20")):
        assert left(world, run) == Decimal(rest)
        say(world, run, "go on")
        job = interactive_run(world)
        assert job.limits.usd == Decimal(rest)
        rests(world, job, cost)


def test_an_alert_comes_at_four_fifths_of_what_a_session_has_spent(world: World) -> None:
    run = begin(world, budget="2")["run"]
    job = interactive_run(world)

    def alerts() -> list[object]:
        return [one.data["scope"] for one in world.context.rows(FeedEvent) if one.kind == "budget.alert"]

    assert alerts() == [], "that an interactive run holds it all is not an alert"
    rests(world, job, "1.60")
    assert alerts() == [f"session:{run}"]
