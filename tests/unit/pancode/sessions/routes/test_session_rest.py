"""A session's change and receipts: there when it rests, and one verdict over all of its interactive runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.event import UserAsked
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import CallAsked, Isolation
from node_agent.wire.receipt import SuspendReason, TurnMessage
from pancode.interfaces.cli import follow, landings
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ApiError, UnavailableError, WorkspaceError
from pancode.kernel.records import Run, StoredReceipt
from pancode.kernel.values import replace
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.landing.commands.test_landing import DirectClient
from tests.unit.pancode.landing.test_asked import COMMIT, GIT
from tests.unit.pancode.runs.world import facts, failed
from tests.unit.pancode.sessions.test_sessions import (
    begin,
    interactive_run,
    made,
    record,
    say,
    sent,
    session,
    turned,
)

OTHER = "e" * 40


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(RuntimeFact(name="native", state="ok"),))
    made.node.breathe()
    made.context.depot.commits |= {COMMIT, OTHER}
    return made


def in_project(world: World, run: str) -> None:
    place = world.context.row(Run, run).workspace
    made(world, run, project="/p", workspace=place if place.get("kind") == "git" else GIT)


def rested(world: World, job: Job, commit: str | None = COMMIT) -> None:
    change: dict[str, Any] = {"commit": commit, "change": "change", "files_changed": ("a.txt",)}
    told = change if commit else {}
    told["snapshot"] = world.context.row(Run, job.identity.run).workspace.get("snapshot")
    assert job.turns is not None
    words = TurnMessage.of(0, job.turns.by, job.task)
    turns = (record(1, 0).model_copy(update={"words": (words,)}),)
    world.node.deliver(job, session="s-1", turns=turns, rests=SuspendReason.ASKED, answer="hi", **told)
    world.context.turn()


def two_interactive_runs(world: World) -> tuple[str, str, Job]:
    """The first rests, the second is at work."""
    run = begin(world)["run"]
    job = interactive_run(world)
    in_project(world, run)
    rested(world, job)
    second = say(world, run, "go on")["run"]
    job = interactive_run(world)
    in_project(world, second)
    return run, second, job


def verdict(world: World, run: str) -> dict[str, Any]:
    answer = world.http.get(f"/v1/sessions/{run}/verify")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_by_any_of_its_runs_the_newest_interactive_run_is_landed_and_only_at_rest(world: World) -> None:
    run, second, job = two_interactive_runs(world)
    asked = (("POST", "land"), ("POST", "land/resolve"), ("GET", "diff"))
    for method, what in asked:
        told = world.problem(method, f"/v1/runs/{run}/{what}", {})
        assert (told["code"], told["details"]) == ("not_at_rest", {"run": second}), what
        assert f"pancode sessions rest {second}" in told["fix"]
    assert sent(world) == [], "nobody has asked it to rest"
    assert world.http.post(f"/v1/runs/{run}/land/cancel", {"by": "ana"}).json()["run"] == second
    rested(world, job)
    for named in (run, second):
        assert world.http.post(f"/v1/runs/{named}/land", {}).json()["run"] == second
        assert world.http.get(f"/v1/runs/{named}/diff").status_code == 200


def client(world: World) -> DirectClient:
    return DirectClient(world.coordinator)


def each_look(patch: pytest.MonkeyPatch, *happens: Callable[[], object]) -> None:
    """What happens at each look of the command that waits; then nothing does."""
    left = list(happens)
    patch.setattr(time, "sleep", lambda seconds: left.pop(0)() if left else None)


@pytest.mark.parametrize("named", ["", "last"])
def test_a_landing_lets_the_session_rest_behind_its_turn_and_says_so(
    named: str, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, second, job = two_interactive_runs(world)
    each_look(
        monkeypatch,
        lambda: turned(world, job, record(1, 0)),
        lambda: begin(world),  # the last run is another one then
        lambda: rested(world, job),
    )
    answer = landings.land_and_wait(Face(as_json=False), client(world), named or run, {"wait": True})
    assert (answer["run"], answer["status"]) == (second, "landed")
    (rest,) = sent(world)
    assert (rest.what, rest.number) == ("rest", 1), "once, and no turn is cancelled"
    told = capsys.readouterr().err
    assert (
        told.count("the session is suspended after its current turn; it continues with your next message")
        == 1
    )
    assert say(world, run, "and now")["how"] == "begins"


def test_a_rest_waits_for_its_program_and_no_answer_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(world)["run"]
    job = world.claim()
    question = CallAsked(call=16 * "a", command="git push", pattern=r"^git push")

    def starts() -> None:
        world.node.start(job)
        world.context.turn()

    def asks() -> None:
        world.node.say(job.identity, UserAsked(asked=question, why="x"))
        world.context.turn()

    each_look(monkeypatch, starts, asks)
    with pytest.raises(WorkspaceError, match="waits for your answer before it can be suspended") as refused:
        follow.suspend_session(Face(as_json=True), client(world), run)
    assert session(world, run)["asks"]["command"] in refused.value.fix
    (rest,) = sent(world)
    assert rest.what == "rest", "it was asked for when its program was there"


def test_a_rest_that_does_not_come_has_an_end_and_one_that_was_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    monkeypatch.setattr(follow, "_REST_S", 5.0)
    each_look(monkeypatch)
    with pytest.raises(UnavailableError, match="was not suspended in time"):
        follow.suspend_session(Face(as_json=True), client(world), run)
    assert len(sent(world)) == 1
    rested(world, job, None)
    assert follow.suspend_session(Face(as_json=True), client(world), run)["state"] == "rests"
    assert sent(world) == []


def test_another_refusal_is_told_as_it_is(world: World) -> None:
    refused = ApiError({"message": "no", "code": "not_done"})

    def act(run: str) -> None:
        raise refused

    with pytest.raises(ApiError) as told:
        follow.act_when_suspended(Face(as_json=True), client(world), "r-1", act)
    assert told.value is refused


def test_one_verdict_over_the_interactive_runs_that_go_on_from_each_other(world: World) -> None:
    run, second, job = two_interactive_runs(world)
    at_work = verdict(world, second)
    assert (at_work["run"], at_work["verdict"]) == (run, "PASS")
    assert [(one["run"], one["verdict"]) for one in at_work["interactive_runs"]] == [
        (run, "PASS"),
        (second, "NOT_FOUND"),
    ]
    assert "no receipt yet" in at_work["checks"][1]["detail"]
    rested(world, job, OTHER)
    whole = verdict(world, run)
    assert whole["verdict"] == "PASS" and all(one["receipt"] for one in whole["interactive_runs"])
    assert whole["checks"][-1] == {
        "what": f"{second} continues from {run}",
        "ok": True,
        "detail": f"its files start at {COMMIT}, with the memory of {run}",
    }
    third = say(world, run, "and on")["run"]
    world.http.post(f"/v1/runs/{third}/stop", {})
    world.node.deliver(world.claim(), **failed(FailureKind.STOPPED, Outcome.INTERRUPTED))
    world.context.turn()
    assert verdict(world, run)["verdict"] == "PASS"


def test_an_interactive_run_that_begins_elsewhere_breaks_the_chain(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    in_project(world, run)
    rested(world, job)
    result = world.context.row(Run, run).result
    made(world, run, result={**result, "commit": OTHER})
    second = say(world, run, "go on")["run"]
    rested(world, interactive_run(world))
    told = verdict(world, run)
    assert told["verdict"] == "BROKEN" and [one["verdict"] for one in told["interactive_runs"]] == [
        "PASS",
        "PASS",
    ]
    assert not told["checks"][-1]["ok"] and second in told["checks"][-1]["what"]


def test_a_lost_interactive_run_breaks_the_chain_and_an_altered_receipt_is_named(world: World) -> None:
    run, second, _ = two_interactive_runs(world)
    for _ in range(100):
        world.context.turn(10_000)
    told = verdict(world, run)
    assert told["verdict"] == "BROKEN" and "the run ended as lost" in told["checks"][1]["detail"]
    (stored,) = world.context.rows(StoredReceipt)
    with world.context.ledger.transaction() as tx:
        tx.put(replace(stored, envelope="{}"))
    assert verdict(world, second)["verdict"] == "TAMPERED"


@pytest.mark.parametrize(
    ("words", "verdict_of"),
    [
        (("ben", 1, "stop the deploy"), "PASS"),
        (("ana", 1, "stop the deploy"), "BROKEN"),
        (("ben", 1, "do deploy"), "BROKEN"),
        (("ben", 77, "stop the deploy"), "BROKEN"),
    ],
)
def test_words_that_nobody_has_said_so_are_no_pass(
    world: World, words: tuple[str, int, str], verdict_of: str
) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    say(world, run, "stop the deploy", by="ben")
    (by, number, text), task = words, TurnMessage.of(0, "ana", job.task)
    told = record(1, 0).model_copy(update={"words": (task, TurnMessage.of(number, by, text))})
    world.node.deliver(job, session="s-1", turns=(told,), rests=SuspendReason.ASKED, answer="hi")
    world.context.turn()
    found = verdict(world, run)
    assert found["verdict"] == verdict_of and found["checks"][-1]["ok"] is (verdict_of == "PASS")


def test_a_run_that_is_no_session_has_its_own_verdict(world: World) -> None:
    run = begin(world)["run"]
    rested(world, interactive_run(world), None)
    alone = verdict(world, run)
    assert alone["verdict"] == "PASS" and [one["run"] for one in alone["interactive_runs"]] == [run]
    assert alone["checks"][:-1] == world.http.get(f"/v1/runs/{run}/verify").json()["checks"]
    assert world.problem("GET", "/v1/sessions/r-none/verify")["code"] == "run_not_found"
