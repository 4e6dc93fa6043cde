"""Scouts over the API: held by their order, and answered from accepted receipts of the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.policy import Mode
from pancode.agents.agents import FLEET_TOOLS, SCOUTS
from pancode.interfaces.mcp.protocol import CallProgress
from pancode.kernel.records import Run
from pancode.sessions.routes import fleet_tools
from tests.unit.pancode.agents.routes.test_exams import Local, passport
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.sessions.routes.test_fleet_tools import ROUTES, Panos
from tests.unit.pancode.sessions.test_sessions import world as talking

__all__ = ["talking"]
ANSWER = "REPORT: it counts by key\nFOUND: limiter.py:12 the counter\nNOT FOUND: nothing"
WHERE, HOW = "Where is the limiter?", "How are tokens checked?"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    return tmp_path / "shop"


def explore(world: World, top: Path, *questions: str, **more: Any) -> list[dict[str, Any]]:
    body = {"questions": list(questions), "cwd": str(top), **more}
    answer = world.http.post("/v1/explore", body)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["scouts"]
    return rows


def done(world: World, job: Job, answer: str = ANSWER, **changes: Any) -> str:
    world.node.carry_out(job, answer=answer, change="no_change", **changes)
    return job.identity.run


def test_its_job_holds_a_scout_to_its_question(world: World, top: Path) -> None:
    (row,) = explore(world, top, WHERE, look="shallow")
    assert (row["state"], row["earlier"], row["answer"]) == ("under way", False, "")
    job = world.claim()
    assert job.identity.run == row["run"] and job.agent.read_only and job.mode is Mode.REVIEW
    assert (job.limits.requests, job.limits.wrap_up) == (4, True)
    assert WHERE in job.task and "500 tokens" in job.task
    assert not {"edit", "write", "bash"} & set(job.agent.tools)


@pytest.mark.parametrize(("look", "calls", "tokens"), [("medium", 12, 2_000), ("deep", 20, 5_000)])
def test_the_answer_is_cut_at_the_tokens_of_its_depth(
    world: World, top: Path, look: str, calls: int, tokens: int
) -> None:
    (row,) = explore(world, top, WHERE, look=look)
    job = world.claim()
    assert job.limits.requests == calls
    whole = "REPORT: " + "x" * 4 * tokens
    world.context.depot.blobs["answer"] = whole.encode()
    done(world, job, whole[:4_000])
    found = world.http.get(f"/v1/explore/{row['run']}").json()
    assert found["state"] == "answered"
    assert len(found["answer"]) <= 4 * tokens + 100


def test_what_is_known_of_the_same_files_is_not_asked_again(world: World, top: Path) -> None:
    (first,) = explore(world, top, WHERE)
    assert explore(world, top, f" {WHERE.upper()}\n")[0]["run"] == first["run"], "it is under way"
    done(world, world.claim())
    world.context.clock.ms += 120_000
    (known,) = explore(world, top, WHERE, look="shallow")
    assert (known["state"], known["earlier"], known["run"], known["age"]) == (
        "answered",
        True,
        first["run"],
        "2 min",
    )
    assert known["answer"] == ANSWER
    assert explore(world, top, WHERE, look="deep")[0]["run"] != first["run"], "it has not looked so far"
    assert explore(world, top, WHERE, again=True)[0]["run"] != first["run"]
    world.context.depot.tree = "f" * 40
    assert explore(world, top, WHERE)[0]["run"] != first["run"], "the files have changed"


def test_an_answer_is_for_the_folder_and_the_program_that_was_asked_for(world: World, top: Path) -> None:
    part = top / "services" / "a"
    part.mkdir(parents=True)
    (first,) = explore(world, part, WHERE, runtime="claude")
    assert explore(world, part, WHERE)[0]["run"] == first["run"], "any program will do"
    assert explore(world, part, WHERE, runtime="claude")[0]["run"] == first["run"]
    others = (explore(world, part, WHERE, node="n1"), explore(world, top, WHERE))
    assert len({first["run"], *(rows[0]["run"] for rows in others)}) == 3


def test_a_program_that_asks_no_model_is_no_scout(world: World, top: Path) -> None:
    body = {"questions": [WHERE], "cwd": str(top), "runtime": "shell"}
    refused = world.problem("POST", "/v1/explore", body)
    assert "requires a model" in json.dumps(refused) and "--runtime native" in refused["fix"]


def test_a_forgotten_answer_is_asked_again_and_a_kept_one_is_given_to_later_runs(
    world: World, top: Path
) -> None:
    (row,) = explore(world, top, WHERE)
    run = done(world, world.claim(), "in limiter.py, line 12")
    body = {"task": "Change the limiter.", "agent": "builder", "runtime": "claude", "cwd": str(top)}
    world.http.post("/v1/runs", body)
    assert "REPORT: in limiter.py, line 12" in world.claim().agent.prompt
    assert world.http.post("/v1/history/forget", {"runs": [run]}).status_code == 200
    assert explore(world, top, WHERE)[0]["run"] != row["run"]


def test_one_that_used_up_its_calls_has_answered_and_one_that_failed_has_not(world: World, top: Path) -> None:
    asked = [row["run"] for row in explore(world, top, WHERE, HOW)]
    jobs = sorted((world.claim(), world.claim()), key=lambda one: asked.index(one.identity.run))
    limit = {"outcome": Outcome.BUDGET_EXCEEDED, "failure": FailureKind.REQUEST_LIMIT}
    done(world, jobs[0], **limit)
    done(world, jobs[1], "", outcome=Outcome.ERROR, failure=FailureKind.AGENT_FAILED)
    rows = [world.http.get(f"/v1/explore/{one.identity.run}").json() for one in jobs]
    assert [row["state"] for row in rows] == ["answered", "failed"] and rows[1]["reason"]
    again = explore(world, top, WHERE, HOW)
    assert [row["earlier"] for row in again] == [True, False]


def test_the_retry_of_a_scout_answers_the_same_question(world: World, top: Path) -> None:
    (row,) = explore(world, top, WHERE)
    done(world, world.claim(), "", outcome=Outcome.ERROR, failure=FailureKind.AGENT_FAILED, reason="red")
    world.context.depot.tree = "f" * 40
    again = world.http.post(f"/v1/runs/{row['run']}/retry", {"by": "ana"}).json()["run"]
    assert world.http.get(f"/v1/explore/{again}").json()["question"] == WHERE
    done(world, world.claim())
    (known,) = explore(world, top, WHERE)
    assert (known["run"], known["answer"]) == (again, ANSWER), "it has looked at the files as they are now"


def test_what_cannot_be_asked_is_refused_before_anything_begins(
    world: World, top: Path, tmp_path: Path
) -> None:
    wrong: list[dict[str, Any]] = [{"questions": []}, {"questions": ["a"] * 5}, {"questions": [""]}]
    for body in (*wrong, {"look": "abyss"}):
        asked = {"questions": [WHERE], "cwd": str(top), **body}
        assert world.problem("POST", "/v1/explore", asked)["exit_code"] == 2
    told = world.problem("POST", "/v1/explore", {"questions": [WHERE], "cwd": str(tmp_path)})
    assert told["code"] == "no_repository"
    assert world.http.post("/v1/budget/ceiling", {"usd": "0"}).status_code == 200
    told = world.problem("POST", "/v1/explore", {"questions": [WHERE], "cwd": str(top), "model": "opus"})
    assert told["exit_code"] == 5 and not world.context.rows(Run)


def test_a_run_that_is_no_scout_is_not_shown_as_one(world: World, top: Path) -> None:
    body = {"task": "Build it.", "agent": "builder", "runtime": "claude", "cwd": str(top)}
    run = world.http.post("/v1/runs", body).json()["run"]
    assert world.problem("GET", f"/v1/explore/{run}")["code"] == "no_scout"


def test_the_cheapest_model_that_passed_its_test_is_taken(tmp_path: Path, top: Path) -> None:
    world = Local(tmp_path)
    world.tell(passport())
    (row,) = explore(world, top, WHERE)
    run = world.context.row(Run, row["run"])
    assert (run.asked_model, run.runtime) == ("ollama/qwen3", "native")
    why = world.http.get(f"/v1/runs/{row['run']}/why").json()["decisions"]
    chosen = next(one["detail"] for one in why if (one["kind"], one["verdict"]) == ("model", "chosen"))
    assert chosen.startswith("the cheapest model that passed its test: it costs nothing, tested on")
    world.tell(passport(), free=False)
    assert world.context.row(Run, explore(world, top, HOW)[0]["run"]).asked_model is None, "it costs"
    (world.coordinator.home / "pancode.yaml").write_text("models: {scout: opus}\n")
    (third,) = explore(world, top, "What is it?")
    assert world.context.row(Run, third["run"]).asked_model == "opus", "the owner's own choice counts"


@pytest.mark.parametrize("mode", list(Mode))
def test_panos_sends_scouts_in_each_mode_and_they_are_its_children(
    talking: ListenerWorld, mode: Mode
) -> None:
    assert SCOUTS in FLEET_TOOLS[mode]
    top = talking.coordinator.home / "shop"
    (top / ".git").mkdir(parents=True)
    panos = Panos(talking, mode=mode.value, cwd=str(top), workspace="git")
    panos.asks(SCOUTS, questions=[WHERE])
    (action,) = panos.waiting()
    run = talking.context.row(Run, panos.session)
    ok, text = fleet_tools.carried_out(talking.api, ROUTES, run, action.detail, Hurried(lambda told: None))
    told = json.loads(text)
    (row,) = told["scouts"]
    child = talking.context.row(Run, row["run"])
    assert ok and (child.parent, child.agent, child.mode) == (panos.session, "scout", Mode.REVIEW)
    assert child.terms["charged_to"] == panos.session and "again" in told["next"]


class Hurried(CallProgress):
    """Waits for nothing."""

    def wait(self, seconds: float) -> None:
        assert seconds > 0
