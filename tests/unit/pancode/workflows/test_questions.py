"""A step whose agent asks a user: its workflow waits, and continues with the run that has the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.control import Tombstone
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.node import RuntimeFact
from node_agent.wire.receipt import UserQuestion
from pancode.kernel.records import Action, ActionKind, Audit, Balance, Run, RunState
from pancode.kernel.values import replace
from pancode.landing.queue import drop_change
from pancode.people.service import deny_run
from pancode.runs.commands.runs import _format_run
from pancode.runs.core import Core
from pancode.runs.life.inbox import item_of
from pancode.workflows.advancing import Advancing
from pancode.workflows.records import Workflow, WorkflowStep
from tests.unit.pancode.runs.world import facts, failed
from tests.unit.pancode.workflows.test_going_on import lost
from tests.unit.pancode.workflows.trees import LOOP, Trees, changed
from tests.unit.pancode.workflows.world import ERROR, Flows, step

ASKS: dict[str, Any] = {
    **failed(FailureKind.NEEDS_USER, Outcome.BLOCKED),
    "reason": "it asks: Which port?",
    "question": UserQuestion(question="Which port?", choices=("80", "8080")),
}
RESUME = "/v1/workflows/last/resume"


@pytest.fixture(autouse=True)
def claude(flows: Flows) -> None:
    """The node has an agent program that takes words."""
    names = ("shell", "scripted", "claude")
    flows.node.facts = facts(runtimes=tuple(RuntimeFact(name=name, state="ok") for name in names))
    flows.node.breathe()


def agent(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return step(name, *needs, runtime="claude", told_only=True, **more)


def answer(flows: Flows, run: str, text: str = "2", **more: str) -> str:
    """The run that continues with the answer."""
    said = flows.world.http.post(f"/v1/runs/{run}/answer", {"by": "ana", "text": text, **more})
    assert said.status_code == 201, said.text
    flows.advance()
    return str(said.json()["run"])


def inbox(flows: Flows) -> list[str]:
    return [item["run"] for item in flows.world.http.get("/v1/inbox").json()["items"]]


def asking(flows: Flows, *others: dict[str, Any], **more: Any) -> str:
    """A workflow whose step `a` has asked; the run of that step."""
    flows.begin(agent("a"), *others, **{"kind": "graph", **more})
    flows.claim()
    flows.end("a", **ASKS)
    return str(flows.show()["steps"][0]["run"])


def test_an_answer_of_a_program_is_shown_as_one(flows: Flows) -> None:
    """In the story and the audit of the run that asked, in the next one, to its agent, and in the inbox."""
    asked = asking(flows)
    first = answer(flows, asked, program="ana (claude)")
    http, told = flows.world.http, "a program answered: ana (claude)"
    why = http.get(f"/v1/runs/{asked}/why").json()
    assert told in [one["detail"] for one in why["decisions"]]
    (noted,) = [one for one in flows.coordinator.rows(Audit, domain="people") if one.what == "answered"]
    assert noted.detail["program"] == "ana (claude)"
    shown = http.get(f"/v1/runs/{first}").json()
    assert shown["answered"] == told and "answered" in _format_run(shown) and told in _format_run(shown)
    run = flows.coordinator.row(Run, first)
    assert run is not None and "a program gave and no user" in run.task
    waits = Action("a-1", ActionKind.USER, first, 5, "ana")
    assert told in item_of(replace(run, state=RunState.ENDED), waits).words
    by_ana = answer(flows, asking(flows))
    assert http.get(f"/v1/runs/{by_ana}").json()["answered"] == "ana"


def test_the_answer_goes_on_inside_of_the_workflow(flows: Flows) -> None:
    first = asking(flows, agent("b", "a", task="$INPUT"), kind="chain", budget="5")
    told = flows.show()
    assert (told["state"], told["waits_for_person"]) == ("running", True)
    assert flows.states() == {"a": "waiting", "b": "waiting"}
    (item,) = told["inbox"]
    assert (item["run"], item["command"]) == (first, f'pancode answer {first} "..."')
    assert "Which port?" in told["steps"][0]["reason"] and first in told["steps"][0]["reason"]
    second = answer(flows, first)
    run = flows.coordinator.row(Run, second)
    assert (run.workflow, run.step) == (told["workflow"], "a") and "8080" in run.task
    assert flows.coordinator.row(Balance, f"workflow:{run.workflow}").reserved_usd > 0, (
        "its budget is the workflow's"
    )
    told = flows.show()
    assert told["steps"][0]["runs"] == [first, second] and not told["waits_for_person"] and not told["inbox"]
    assert flows.claim() == ["a"]
    flows.end("a", answer="port 8080")
    assert flows.runs()["b"].task == "port 8080"
    flows.claim()
    flows.end("b")
    assert flows.show()["state"] == "done"
    flows.check_sums(told["workflow"])


def test_a_second_question_is_answered_there_too(flows: Flows) -> None:
    second = answer(flows, asking(flows))
    flows.claim()
    flows.end("a", **ASKS)
    assert flows.states() == {"a": "waiting"} and inbox(flows) == [second]
    third = answer(flows, second)
    flows.claim()
    flows.end("a")
    assert flows.show()["state"] == "done" and flows.show()["steps"][0]["runs"][1:] == [second, third]


def test_an_answer_before_the_workflow_has_looked_goes_on_inside_too(flows: Flows) -> None:
    flows.begin(agent("a"), kind="chain")
    flows.claim()
    job = flows.jobs.pop("a")
    flows.node.open.remove(job.identity)
    flows.node.deliver(job, **ASKS)
    flows.coordinator.turn()
    assert flows.states() == {"a": "running"}
    second = answer(flows, job.identity.run)
    assert flows.claim() == ["a"] and flows.show()["steps"][0]["run"] == second


def test_other_branches_go_on_and_the_question_takes_no_place(flows: Flows) -> None:
    first = asking(flows, step("x", runtime="scripted"), step("y", "x", runtime="scripted"), concurrency=1)
    assert flows.states() == {"a": "waiting", "x": "pending", "y": "waiting"}
    assert not flows.show()["waits_for_person"]
    second = answer(flows, first)
    assert flows.claim() == ["x"], "the answer waits for its place"
    flows.end("x")
    assert flows.claim() == ["a"] and flows.coordinator.row(Run, second).step == "a"
    flows.end("a")
    flows.claim()
    flows.end("y")
    assert flows.show()["state"] == "done"


def test_continued_by_hand_it_is_the_same(flows: Flows) -> None:
    first = asking(flows)
    body = {"by": "ana", "text": "take 80"}
    run = flows.world.http.post(f"/v1/runs/{first}/continue", body).json()["run"]
    flows.advance()
    assert flows.show()["steps"][0]["runs"] == [first, run]
    told = flows.world.problem("POST", f"/v1/runs/{first}/continue", body)
    assert told["code"] == "already_continued" and run in told["message"]
    flows.claim()
    flows.end("a", **ERROR)
    outside = flows.world.http.post(f"/v1/runs/{first}/continue", body).json()["run"]
    assert flows.coordinator.row(Run, outside).workflow is None, "the step has had its next run"


@pytest.mark.parametrize("no", [deny_run, drop_change])
def test_a_no_ends_the_step_as_failed(flows: Flows, no: Callable[[Core, str, str], object]) -> None:
    first = asking(flows, agent("b", "a"))
    no(flows.coordinator.core, first, "ana")
    flows.advance()
    assert flows.states() == {"a": "failed", "b": "skipped"} and flows.show()["state"] == "failed"
    assert flows.world.http.post(RESUME, {"yes": True}).status_code == 200
    flows.advance()
    assert flows.show()["steps"][0]["runs"][1:] != [] and flows.claim() == ["a"], "it begins anew"


def by_stop(flows: Flows) -> None:
    assert flows.world.http.post("/v1/workflows/last/stop", {"by": "ana"}).status_code == 200
    flows.advance()


def by_failure(flows: Flows) -> None:
    flows.end("x", **ERROR)


@pytest.mark.parametrize("end", [by_stop, by_failure])
def test_what_ends_the_workflow_takes_its_question_away_and_resume_asks_again(
    flows: Flows, end: Callable[[Flows], None]
) -> None:
    first = asking(flows, step("x", runtime="scripted"), step("b", "a", runtime="scripted"))
    end(flows)
    if end is by_stop:
        flows.end("x", **ERROR)
    assert flows.states()["a"] == "stopped" and inbox(flows) == []
    assert flows.world.problem("POST", f"/v1/runs/{first}/answer", {"by": "ana", "text": "1"})
    assert flows.world.http.post(RESUME).status_code == 200
    flows.advance()
    assert inbox(flows) == [first] and flows.states()["a"] == "waiting"
    answer(flows, first)
    assert flows.claim() == ["a", "x"]
    flows.end("a")
    flows.end("x")
    flows.claim()
    flows.end("b")
    assert flows.show()["state"] == "done"
    flows.check_sums(flows.show()["workflow"])


def by_failure_elsewhere(flows: Flows) -> None:
    """The run with the answer still waits for its place, and never begins."""
    flows.claim()
    flows.end("x", **ERROR)


def by_its_own_failure(flows: Flows) -> None:
    flows.claim()
    flows.end("x")
    flows.claim()
    flows.end("a", **ERROR)


@pytest.mark.parametrize("end", [by_failure_elsewhere, by_its_own_failure])
def test_an_answer_that_came_to_nothing_is_asked_for_again_on_resume(
    flows: Flows, end: Callable[[Flows], None]
) -> None:
    first = asking(flows, step("x", runtime="scripted"), concurrency=1)
    flows.world.http.post(f"/v1/runs/{first}/tell", {"by": "ana", "text": "Be quick."})
    second = answer(flows, first)
    end(flows)
    assert flows.states()["a"] in ("stopped", "failed") and inbox(flows) == []
    assert flows.world.http.post(RESUME).status_code == 200
    flows.advance()
    told = flows.show()["steps"][0]
    assert (told["state"], told["run"], inbox(flows)) == ("waiting", first, [first])
    assert "Which port? (the answer before was: 8080; pancode answer" in told["reason"]
    third = answer(flows, first, "1")
    run = flows.coordinator.row(Run, third)
    assert run.terms["continues"] == first and "The answer is: 80\n" in run.task and "Be quick." in run.task
    assert flows.show()["steps"][0]["runs"] == [first, second, third]
    assert flows.world.problem("POST", f"/v1/runs/{first}/answer", {"by": "ana", "text": "1"})
    while flows.show()["state"] == "running":
        for name in flows.claim():
            flows.end(name)
    assert flows.show()["state"] == "done"
    flows.check_sums(flows.show()["workflow"])


def test_a_lost_run_with_the_answer_is_given_up_when_its_question_is_asked_again(flows: Flows) -> None:
    first = asking(flows)
    second = answer(flows, first)
    flows.claim()
    assert lost(flows, "a") == second and flows.states() == {"a": "failed"}
    flows.node.controls()
    assert flows.world.http.post(RESUME).status_code == 200
    flows.advance()
    assert inbox(flows) == [first] and flows.states() == {"a": "waiting"}
    flows.node.breathe()
    told = [one.body for one in flows.node.controls()]
    assert [body.run for body in told if isinstance(body, Tombstone)] == [second]
    flows.end("a")
    assert flows.states() == {"a": "waiting"}, "the late word of it is evidence only"
    answer(flows, first)
    flows.claim()
    flows.end("a")
    assert flows.show()["state"] == "done"
    flows.check_sums(flows.show()["workflow"])


def test_after_a_no_to_the_second_question_the_first_is_not_asked_again(flows: Flows) -> None:
    first = asking(flows)
    second = answer(flows, first)
    flows.claim()
    flows.end("a", **ASKS)
    deny_run(flows.coordinator.core, second, "ana")
    flows.advance()
    assert flows.states() == {"a": "failed"}
    assert flows.world.http.post(RESUME, {"yes": True}).status_code == 200
    flows.advance()
    assert inbox(flows) == [] and flows.claim() == ["a"], "it begins anew"


def test_a_race_is_won_while_one_asks(flows: Flows) -> None:
    first = asking(flows, agent("x"), kind="race", race={"by": "first"})
    assert flows.show()["state"] == "running"
    flows.end("x")
    assert (flows.show()["winner"], flows.states()["a"]) == ("x", "stopped") and inbox(flows) == []
    assert flows.world.problem("POST", f"/v1/runs/{first}/answer", {"by": "ana", "text": "1"})


def test_a_race_is_won_by_an_answer(flows: Flows) -> None:
    first = asking(flows, agent("x"), kind="race", race={"by": "first"})
    flows.end("x", **ERROR)
    assert flows.show()["waits_for_person"]
    answer(flows, first)
    flows.claim()
    flows.end("a")
    assert (flows.show()["winner"], flows.show()["state"]) == ("a", "done")


def test_a_budget_without_room_refuses_the_answer_and_the_question_stays(flows: Flows) -> None:
    first = asking(flows, kind="chain", budget="5")
    row = flows.coordinator.rows(Workflow)[0]
    balance = flows.coordinator.row(Balance, f"workflow:{row.id}")
    with flows.coordinator.ledger.transaction() as tx:
        tx.put(replace(row, budget=balance.spent_usd))
    said = flows.world.problem("POST", f"/v1/runs/{first}/answer", {"by": "ana", "text": "1"})
    assert said["code"] == "budget" and inbox(flows) == [first]
    assert flows.show()["waits_for_person"]


def test_a_coordinator_that_dies_after_the_answer_loses_nothing(flows: Flows) -> None:
    first = asking(flows)
    flows.world.http.post(f"/v1/runs/{first}/answer", {"by": "ana", "text": "1"})
    flows.coordinator.restart()
    flows.node.breathe()
    flows.advance()
    assert flows.claim() == ["a"]
    flows.end("a")
    assert flows.show()["state"] == "done" and len(flows.show()["steps"][0]["runs"]) == 2


def test_a_workflow_that_breaks_keeps_the_question_for_its_resume(flows: Flows) -> None:
    first = asking(flows)
    advancing: Advancing = flows.advancing()
    advancing.give_up(flows.show()["workflow"], ValueError("odd"))
    assert flows.show()["state"] == "failed" and inbox(flows) == [first]
    assert flows.world.http.post(RESUME).status_code == 200
    flows.advance()
    assert flows.states() == {"a": "waiting"} and flows.coordinator.rows(WorkflowStep)[0].run == first


def test_what_was_written_before_the_question_counts(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    """The verdict was written, then the agent asked; the change of both runs is the step's."""
    place = {"workspace": "git"}
    review = agent("review", "build", **place, **LOOP)
    flows.begin(agent("build", **place), review, kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("build", **changed(trees, "b"))
    flows.claim()
    trees.files = {letter * 40: {"verdict.json": b'{"verdict": "approved"}'} for letter in "cd"}
    written = {**changed(trees, "c"), "files_changed": ("verdict.json",)}
    flows.end("review", **{**written, **ASKS})
    first = flows.runs()["review"]
    second = flows.coordinator.row(Run, answer(flows, first.id))
    assert second.workspace["snapshot"] == "c" * 40 and second.terms["origin"] == first.terms["origin"]
    flows.claim()
    flows.end("review")
    told = flows.show()
    assert told["state"] == "done" and told["steps"][1]["outputs"]["verdict"] == {"verdict": "approved"}
    assert told["results"] == [told["steps"][0]["run"]], "a verdict alone is not a work"
