"""A dispatch that a user approves before it begins, over the API: shown, approved once, denied, stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.event import UserAsked
from node_agent.wire.policy import CallAsked
from pancode.kernel.records import Action, Attempt, Audit, Decision, FeedEvent, Run, RunState, WaitReason
from pancode.kernel.values import replace
from pancode.runs.inbox_answers import list_inbox
from pancode.runs.life.inbox import is_lifted_for_good, is_unapproved
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.people.routes.test_inbox import items, keep


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def asked(world: World, **more: Any) -> str:
    return str(world.dispatch(ask=True, **more)["run"])


def approve(world: World, run: str, **more: Any) -> Any:
    return world.http.post(f"/v1/runs/{run}/approve", {"by": "ana", **more})


def jobs(world: World) -> bool:
    return world.node.claim() is not None


def ceiling(world: World, usd: str) -> None:
    assert world.http.post("/v1/budget/ceiling", {"usd": usd, "scope": "day"}).status_code == 200


def test_it_waits_with_its_plan_and_starts_after_the_yes(world: World) -> None:
    run = asked(world)
    row = world.context.row(Run, run)
    assert (row.state, row.waits, "inbox" in row.reason) == (RunState.PENDING, WaitReason.USER, True)
    assert world.context.rows(Attempt, run=run) == [], "nothing is held before the yes"
    (item,) = items(world)
    name = item["plan"]["digest"]
    assert (item["kind"], item["command"]) == ("dispatch", f"pancode approve --plan {name} {run}")
    plan = item["plan"]
    assert plan["agent"] == "builder" and plan["estimate_usd"] == f"{row.estimate_usd:f}"
    assert "estimate $" in item["words"] and plan["objections"] == []
    for _ in range(5):
        world.context.turn(7 * 24 * 3_600_000)
    assert world.context.row(Run, run).state is RunState.PENDING, "it never times out into a yes"
    assert not jobs(world)
    told = approve(world, run).json()
    assert (told["approved"], told["waits"]) == ("once", "queued")
    world.node.breathe()
    world.context.turn(0)
    job = world.claim()
    assert job.identity.run == run and items(world) == []
    events = [event.kind.value for event in world.context.rows(FeedEvent) if event.run == run]
    assert events.index("inbox.item") < events.index("inbox.answered")
    (row_,) = [one for one in world.context.rows(Audit, run=run) if one.what == "approved"]
    assert row_.detail == {"by": "ana", "kind": "dispatch", "scope": "once"}
    assert world.problem("POST", f"/v1/runs/{run}/approve", {})["code"] == "nothing_asked"


def test_a_yes_to_a_plan_that_has_changed_since_is_refused(world: World) -> None:
    run = asked(world)
    keep(world, replace(world.context.row(Run, run), runtime="native"))  # an agent, which takes words
    seen = items(world)[0]["plan"]["digest"]
    world.http.post(f"/v1/runs/{run}/tell", {"by": "ben", "text": "and delete the rest"})
    refused = world.problem("POST", f"/v1/runs/{run}/approve", {"by": "ana", "plan": seen})
    assert refused["code"] == "changed" and "--plan" in refused["fix"]
    assert world.context.row(Run, run).waits is WaitReason.USER
    now = items(world)[0]["plan"]["digest"]
    assert approve(world, run, plan=now).json()["approved"] == "once"
    again = world.problem("POST", f"/v1/runs/{run}/approve", {"by": "ben", "plan": now})
    assert again["code"] == "nothing_asked" and "ana" in again["why"]


def test_a_late_answer_to_the_start_is_none_to_a_command_that_waits_by_then(world: World) -> None:
    """Two users see the same start; the first one's yes lets it run, and it asks about a command."""
    run = asked(world)
    approve(world, run)
    world.node.breathe()
    world.context.turn(0)
    job = world.claim()
    world.node.start(job)
    keep(world, replace(world.context.row(Run, run), runtime="native"))
    call = CallAsked(call="1" * 16, command="git push", pattern="push")
    world.node.say(job.identity, UserAsked(asked=call, why="rule ask: push"))
    world.context.turn(0)
    of_plan = world.problem(
        "POST", f"/v1/runs/{run}/approve", {"by": "bob", "plan": "0123456789ab", "call": 1}
    )
    assert of_plan["code"] == "changed" and "call" in of_plan["why"]
    late = {"by": "bob", "scope": "run"}
    told = world.problem("POST", f"/v1/runs/{run}/approve", late)
    assert told["code"] == "changed" and "git push" in told["why"] and f"--call 1 {run}" in told["fix"]
    assert world.problem("POST", f"/v1/runs/{run}/deny", {"by": "bob"})["code"] == "changed"
    assert [item["call"] for item in items(world)] == [1] and "permits" not in world.context.row(
        Run, run
    ).terms
    assert approve(world, run, call=1).status_code == 200 and items(world) == []


def test_a_no_with_words_says_for_whom_words_are(world: World) -> None:
    """It answered a no with `pancode approve RUN`."""
    run = asked(world)
    told = world.problem("POST", f"/v1/runs/{run}/deny", {"by": "bob", "text": "not today"})
    assert told["code"] == "no_words" and told["fix"] == f"pancode deny {run}"
    assert items(world) != []


@pytest.mark.parametrize("verb", ["deny", "stop"])
def test_a_no_ends_it_before_it_began(world: World, verb: str) -> None:
    run = asked(world)
    world.http.post(f"/v1/runs/{run}/{verb}", {"by": "bob"})
    row = world.context.row(Run, run)
    assert (row.state, str(row.outcome)) == (RunState.ENDED, "interrupted")
    assert "bob" in row.reason and items(world) == [] and world.context.rows(Action, run=run) == []
    assert world.problem("POST", f"/v1/runs/{run}/approve", {})["code"] == "nothing_asked"
    world.context.turn()
    assert not jobs(world)


@pytest.mark.parametrize("scope", ["once", "run"])
def test_a_full_budget_is_an_exception_that_the_owner_lifts(world: World, scope: str) -> None:
    ceiling(world, "0.01")
    refused = world.problem("POST", "/v1/runs", world.shell(budget="5"))
    assert refused["code"] == "refused_budget" and "--ask" in refused["fix"]
    run = asked(world, budget="5")
    (item,) = items(world)
    assert item["kind"] == "budget" and "would be exceeded" in item["words"]
    assert item["plan"]["objections"][0].startswith("budget: ")
    world.context.turn(24 * 3_600_000)
    assert not jobs(world)
    approve(world, run, scope=scope)
    assert world.claim().identity.run == run
    assert is_lifted_for_good(world.context.row(Run, run)) is (scope == "run")
    told = [one for one in world.context.rows(Decision, run=run) if one.verdict == "lifted"]
    assert told and "ceiling exceeded for one run" in {one.what for one in world.context.rows(Audit, run=run)}


def test_a_rule_is_an_exception_too_and_what_no_yes_lifts_stays_refused(world: World) -> None:
    (world.coordinator.home / "panagents.yaml").write_text("agents: {builder: {enabled: false}}")
    run = asked(world, agent="builder")
    (item,) = items(world)
    assert item["kind"] == "policy" and "is disabled" in item["words"]
    approve(world, run)
    assert world.claim().identity.run == run
    told = world.problem("POST", "/v1/runs", world.shell(agent="builder", ask=True, mode="review"))
    assert told["code"] == "refused_mutation"


def test_a_plain_yes_lifts_no_ceiling(world: World) -> None:
    run = asked(world, budget="5")
    ceiling(world, "0.01")
    told = world.problem("POST", f"/v1/runs/{run}/approve", {})
    assert told["code"] == "budget" and "still waits" in told["why"]
    assert is_unapproved(world.context.row(Run, run)) and len(items(world)) == 1
    ceiling(world, "100")
    assert approve(world, run).json()["approved"] == "once"


def test_nothing_starts_while_the_fleet_drains(world: World) -> None:
    run = asked(world)
    world.http.post("/v1/fleet/drain", {"reason": "night"})
    told = world.problem("POST", f"/v1/runs/{run}/approve", {})
    assert told["code"] == "refused_drain" and len(items(world)) == 1


def test_it_asks_after_a_restart_still(world: World) -> None:
    run = asked(world)
    world.context.restart()
    assert [one["run"] for one in list_inbox(world.context.core)] == [run]


def test_a_dry_run_says_that_it_would_wait(world: World) -> None:
    told = world.http.post("/v1/runs", world.shell(ask=True, dry_run=True)).json()
    assert (told["asks"], told["admitted"]) == ("dispatch", True) and items(world) == []
