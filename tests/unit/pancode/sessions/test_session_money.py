"""What sessions may cost: an interactive run holds its cap, a session has a ceiling, and all of
it is told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.event import Progress
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import GateResult, SuspendReason, TurnStop, Usage
from pancode.kernel.errors import UsageError
from pancode.kernel.records import Balance, Run
from pancode.kernel.values import replace
from pancode.people import service as answering
from pancode.runs.life.continuations import GO_ON
from pancode.runs.life.conversation import IDLE_MS
from pancode.runs.user_environment import Surroundings
from pancode.sessions.routes import sessions as session_routes
from pancode.sessions.service import GoingOn
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts, failed
from tests.unit.pancode.sessions.test_sessions import (
    MODEL,
    begin,
    interactive_run,
    record,
    say,
    session,
    turned,
)


@pytest.fixture
def world(tmp_path: Path) -> ListenerWorld:
    made = ListenerWorld(tmp_path)
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in ("native", "shell"))
    made.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    made.node.breathe()
    return made


def used(usd: str) -> Usage:
    return Usage(input_tokens=1_000, output_tokens=10, cost_usd=Decimal(usd), cost_source="metered")


def rests(world: World, job: Job, usd: str, stop: TurnStop = TurnStop.END_TURN, **more: Any) -> None:
    turn = record(1, 0, stop=stop).model_copy(update={"usage": used(usd)})
    given = {"turns": (turn,), "rests": SuspendReason.IDLE, "usage": used(usd), "session": "s-1", **more}
    world.node.deliver(job, **given)
    world.context.turn()


def books(world: World, scope: str) -> tuple[Decimal, Decimal]:
    balance = world.context.row(Balance, scope)
    return balance.spent_usd, balance.reserved_usd


@pytest.mark.parametrize(("endpoint", "cost"), [("ollama", "0"), (None, None)])
def test_a_model_of_the_fleet_costs_nothing_while_it_works(
    world: ListenerWorld, endpoint: str | None, cost: str | None
) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    served = replace(world.context.row(Run, run), endpoint=endpoint, estimate_usd=Decimal(0))
    with world.coordinator.core.ports.ledger.transaction() as tx:
        tx.put(served)
    world.node.say(job.identity, Progress(input_tokens=5, output_tokens=5, cost_usd=Decimal(0)))
    world.context.turn()
    assert session(world, run)["usage"]["cost_usd"] == cost, "of a vendor's model a zero says nothing"


def test_a_talk_that_a_full_day_refuses_is_told_of_no_option_that_it_has_not(world: ListenerWorld) -> None:
    world.http.post("/v1/budget/ceiling", {"usd": "0.01", "scope": "day"})
    words = {"task": "hello", "runtime": "native", "model": MODEL, "workspace": "none", "by": "ana"}
    refused = world.problem("POST", "/v1/sessions", words)
    assert refused["code"] == "refused_budget"
    assert "pancode budget set" in refused["fix"] and "--ask" not in refused["fix"]


def test_a_full_day_names_the_interactive_run_that_holds_it_and_only_waits(world: ListenerWorld) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    world.http.post("/v1/budget/ceiling", {"usd": "2.50", "scope": "day"})
    words = {"task": "hello", "runtime": "native", "model": MODEL, "workspace": "none", "by": "ana"}
    assert "rest" not in world.problem("POST", "/v1/sessions", words)["fix"], "it is in the middle of a turn"
    turned(world, job, record(1, 0))
    fix = world.problem("POST", "/v1/sessions", words)["fix"]
    assert f"pancode sessions rest {run}" in fix
    rests(world, job, "0.30")
    assert world.http.post("/v1/sessions", words).status_code == 201, "the fix works"


def test_an_interactive_run_holds_its_cap_and_is_settled_when_it_rests(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    assert job.limits.usd == 2
    assert books(world, f"session:{run}") == (Decimal(0), Decimal(2)) == books(world, "node:n1")
    rests(world, job, "0.30")
    assert books(world, f"session:{run}") == (Decimal("0.30"), Decimal(0))
    shown = session(world, run)
    assert shown["turn"] == {
        **{"number": 1, "stop": "end_turn", "why": ""},
        **{"tokens": 1_010, "cost_usd": "0.30", "cost_source": "metered"},
    }
    assert shown["money"] == {"ceiling_usd": None, "left_usd": None, "sitting_usd": "2", "runs_usd": None}


def test_a_session_whose_model_has_no_price_gives_its_hold_back_when_it_rests(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    assert books(world, "node:n1") == (Decimal(0), Decimal(2))
    unknown = Usage(input_tokens=1_000, output_tokens=10, cost_usd=None, cost_source="unknown")
    rests(world, job, "0.30", usage=unknown)
    for scope in (f"session:{run}", "node:n1"):
        assert books(world, scope) == (Decimal(0), Decimal(0)), "five chats do not fill a day"
        assert world.context.row(Balance, scope).unknown_runs == 1
    settled = world.http.post("/v1/budget/settle", {"run": run, "usd": "0.40", "by": "ana"})
    assert settled.status_code == 200 and books(world, "node:n1") == (Decimal("0.40"), Decimal(0))


def test_a_session_has_a_ceiling_of_all_its_interactive_runs(world: World) -> None:
    run = begin(world, budget="2.50")["run"]
    job = interactive_run(world)
    assert job.limits.usd == 2
    body = Progress(input_tokens=5, output_tokens=5, cost_usd=Decimal("0.70"), tool_calls=0, log_bytes=0)
    world.node.say(job.identity, body)
    world.context.turn()
    assert session(world, run)["money"]["left_usd"] == "1.80", "what its node has told counts at once"
    rests(world, job, "1.50")
    second = say(world, run, "go on")["run"]
    job = interactive_run(world)
    assert (job.limits.usd, session(world, run)["money"]["left_usd"]) == (Decimal(1), "1.00")
    rests(world, job, "1.00")
    full = world.http.post(f"/v1/sessions/{run}/words", {"text": "more", "by": "ana"})
    assert full.status_code == 409 and full.json()["code"] == "refused_budget"
    assert "$2.50" in full.text
    assert full.json()["fix"] == f"pancode budget set 4 --scope session:{run}"
    set_to = {"scope": f"session:{second}", "usd": "4", "by": "ana"}
    assert world.http.post("/v1/budget/ceiling", set_to).status_code == 200, "by any of its runs"
    say(world, run, "more")
    assert interactive_run(world).limits.usd == Decimal("1.50")
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
    assert interactive_run(world).limits.usd == 1
    assert session(world, run)["money"]["ceiling_usd"] == "1"
    unset = world.http.post("/v1/budget/ceiling/unset", {"scope": f"session:{run}", "by": "ana"})
    assert unset.status_code == 404, "it has none of its own"
    assert world.http.post("/v1/budget/ceiling/unset", {"scope": "session", "by": "ana"}).status_code == 200
    assert session(world, run)["money"]["ceiling_usd"] is None


def test_the_limit_of_a_headless_run_is_the_ceiling_of_the_session_that_goes_on_from_it(world: World) -> None:
    dispatched = {"task": "do it", "runtime": "native", "model": "anthropic/claude-sonnet-4-5", "by": "ana"}
    done = world.http.post("/v1/runs", {**dispatched, "workspace": "none", "budget": "0.40"}).json()["run"]
    job = interactive_run(world)
    world.node.deliver(job, session="s-1", usage=used("0.10"))
    world.context.turn()
    first = say(world, done, "and now?")["run"]
    assert interactive_run(world).limits.usd == Decimal("0.30"), "the run itself has cost a part of it"
    money = session(world, first)["money"]
    assert (money["ceiling_usd"], money["left_usd"]) == ("0.30", "0.30")


CUT = {"outcome": Outcome.BUDGET_EXCEEDED, "failure": FailureKind.USD_LIMIT, "reason": "$2 is spent"}


def cut(world: World, job: Job, usd: str) -> None:
    turn = record(1, 0, stop=TurnStop.LIMIT)
    world.node.deliver(job, turns=(turn,), rests=SuspendReason.CAP, usage=used(usd), session="s-1", **CUT)
    world.context.turn()


def test_where_its_cap_cuts_a_turn_a_user_is_asked_and_a_yes_goes_on(world: World) -> None:
    run = begin(world, on_cap="ask", budget="3")["run"]
    cut(world, interactive_run(world), "2")
    shown = session(world, run)
    assert (shown["state"], shown["asks"]["kind"]) == ("asks", "permission")
    (item,) = world.http.get("/v1/inbox").json()["items"]
    assert item["command"] == f"pancode approve {run}"
    assert (
        "has used $2.00 of $2.00" in item["words"]
        and "continue with $2.00 more? It works on: hello" in item["words"]
    )
    done = world.http.post(f"/v1/runs/{run}/approve", {"by": "ben"})
    assert done.status_code == 200, done.text
    job = interactive_run(world)
    assert (job.task, job.limits.usd, job.identity.run) == (GO_ON, Decimal(2), done.json()["run"])
    assert session(world, run)["money"]["ceiling_usd"] == "4", "it was raised by what the yes named"
    again = world.http.post(f"/v1/runs/{run}/approve", {"by": "ana"})
    assert again.json()["code"] == "already_continued"
    cut(world, job, "2")
    denied = world.http.post(f"/v1/runs/{job.identity.run}/deny", {"by": "ana"})
    assert denied.status_code == 200 and session(world, run)["state"] == "rests"
    assert world.http.get("/v1/inbox").json()["items"] == []


class Meanwhile:
    """What the dispatch reads, and what happens once while it does."""

    def __init__(self, around: Surroundings, happens: Callable[[], object]) -> None:
        self._around, self._happens = around, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._around, name)

    def paths(self, *asked: Any) -> Any:
        self._happens()
        return self._around.paths(*asked)


@pytest.mark.parametrize("path", ["runs/{run}/deny", "sessions/{run}/end"])
def test_a_no_that_comes_while_a_yes_is_carried_out_counts(world: World, path: str) -> None:
    run = begin(world, on_cap="ask", budget="3")["run"]
    cut(world, interactive_run(world), "2")

    def no() -> None:
        assert world.http.post(f"/v1/{path.format(run=run)}", {"by": "ben"}).status_code == 200

    around: Any = Meanwhile(world.coordinator.around({}), no)
    core, old = world.context.core, world.context.row(Run, run)
    with pytest.raises(UsageError, check=lambda error: error.code == "nothing_asked"):
        answering.permit_run(core, around, old, "ana", False)
    shown = session(world, run)
    assert (shown["run"], shown["money"]["ceiling_usd"]) == (run, "3")
    assert world.http.get("/v1/inbox").json()["items"] == []


def test_a_yes_that_is_refused_raises_no_ceiling_and_two_raise_it_once(world: World) -> None:
    run = begin(world, on_cap="ask", budget="3")["run"]
    cut(world, interactive_run(world), "2")
    world.http.post("/v1/fleet/drain", {"reason": "maintenance", "by": "ana"})
    refused = world.http.post(f"/v1/runs/{run}/approve", {"by": "ana"})
    assert refused.json()["code"] == "refused_drain", refused.text
    assert session(world, run)["money"]["ceiling_usd"] == "3"
    assert len(world.http.get("/v1/inbox").json()["items"]) == 1, "it still asks"
    world.http.post("/v1/fleet/resume", {"by": "ana"})
    with ThreadPoolExecutor(4) as all_at_once:
        said = list(
            all_at_once.map(lambda by: world.http.post(f"/v1/runs/{run}/approve", {"by": by}), "abcd")
        )
    assert sorted(one.status_code == 200 for one in said) == [False, False, False, True]
    assert session(world, run)["money"]["ceiling_usd"] == "4"


def test_words_of_a_user_answer_the_question_of_the_cap_too(world: World) -> None:
    run = begin(world, on_cap="ask")["run"]
    job = interactive_run(world)
    say(world, run, "kept until then")
    cut(world, job, "2")
    assert not session(world, run)["goes_on"], "a user was asked"
    say(world, run, "yes, but be brief")
    assert interactive_run(world).task == "kept until then\n\nyes, but be brief"
    assert world.http.get("/v1/inbox").json()["items"] == []


def test_without_a_wish_nobody_is_asked_at_the_cap(world: World) -> None:
    run = begin(world)["run"]
    cut(world, interactive_run(world), "2")
    assert (session(world, run)["state"], session(world, run)["asks"]) == ("rests", None)


GATE = ("pytest -q",)


def gated(job: Job, *, passed: bool) -> dict[str, Any]:
    (gate,) = job.gates
    made = {
        "gates": (
            GateResult(
                name=gate.name, argv=gate.argv, exit_code=int(not passed), passed=passed, duration_ms=1
            ),
        )
    }
    return made if passed else {**made, **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED)}


def test_a_session_that_is_left_alone_goes_on_until_its_gates_pass(world: World) -> None:
    none = world.http.post(
        "/v1/sessions",
        {"task": "x", "runtime": "native", "model": MODEL, "workspace": "none", "until_verified": True},
    )
    assert none.json()["code"] == "no_gates"
    run = begin(world, until_verified=True, verify=list(GATE), budget="2")["run"]
    job = interactive_run(world)
    assert job.turns is not None and (job.turns.idle_ms, job.limits.usd) == (1, Decimal(2))
    rests(world, job, "1", **gated(job, passed=False))
    assert session(world, run)["goes_on"]
    doer = GoingOn(world.context.core, world.coordinator.around)
    doer.do(run, lambda: False)
    world.context.turn()
    job = interactive_run(world)
    assert "the gates said: Your work is finished" in job.task and "- pytest -q: exit 1" in job.task
    assert (job.limits.usd, world.context.row(Run, job.identity.run).created_by) == (Decimal(1), "ana")
    rests(world, job, "1", **gated(job, passed=False))
    doer.do(job.identity.run, lambda: False)
    shown = session(world, run)
    assert (shown["run"], shown["state"], shown["goes_on"]) == (job.identity.run, "rests", False)
    assert shown["waiting"] == 1, "its ceiling is used up: the words of the gates are kept for a user"


@pytest.mark.parametrize("passed", [True, False])
def test_what_is_left_alone_no_more_is_an_ordinary_chat(
    world: World, passed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_routes, "MOST_ROUNDS", 2)
    run = begin(world, until_verified=True, verify=list(GATE))["run"]
    job = interactive_run(world)
    rests(world, job, "0.10", **gated(job, passed=False))
    GoingOn(world.context.core, world.coordinator.around).do(run, lambda: False)
    world.context.turn()
    job = interactive_run(world)
    assert job.turns is not None and job.turns.idle_ms == 1, "the last one"
    rests(world, job, "0.10", **gated(job, passed=passed))
    shown = session(world, run)
    assert (shown["state"], shown["goes_on"], shown["waiting"]) == ("rests", False, 0)
    say(world, run, "and now this")
    job = interactive_run(world)
    assert job.turns is not None and job.turns.idle_ms == IDLE_MS, "it waits for a message"
    rests(world, job, "0.10", **gated(job, passed=False))
    assert not session(world, run)["goes_on"]


@pytest.mark.parametrize("halt", [{"stop": TurnStop.CANCELLED}, {"rests": SuspendReason.ASKED}])
def test_a_cancel_or_a_rest_stops_a_session_that_is_left_alone(world: World, halt: dict[str, Any]) -> None:
    run = begin(world, until_verified=True, verify=list(GATE))["run"]
    job = interactive_run(world)
    rests(world, job, "1", **gated(job, passed=False), **halt)
    shown = session(world, run)
    assert (shown["state"], shown["goes_on"], shown["waiting"]) == ("rests", False, 0)
    say(world, run, "go on then")
    job = interactive_run(world)
    rests(world, job, "0.10", **gated(job, passed=False))
    assert session(world, run)["goes_on"], "and a user's message let it continue alone"
