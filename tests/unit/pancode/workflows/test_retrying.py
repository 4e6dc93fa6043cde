"""The retry of a step's run takes the step, and its workflow continues; where it cannot, it says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run
from tests.unit.pancode.workflows.test_going_on import lost
from tests.unit.pancode.workflows.test_questions import ASKS, agent, answer
from tests.unit.pancode.workflows.test_questions import claude as claude
from tests.unit.pancode.workflows.trees import Trees, changed, git
from tests.unit.pancode.workflows.world import ERROR, Flows, step


def retry(flows: Flows, run: str, **body: Any) -> dict[str, Any]:
    said = flows.world.http.post(f"/v1/runs/{run}/retry", {"by": "ana", **body})
    assert said.status_code == 201, said.text
    flows.advance()
    return dict(said.json())


def refused(flows: Flows, run: str) -> tuple[str, str]:
    before = flows.coordinator.rows(Run)
    said = flows.world.problem("POST", f"/v1/runs/{run}/retry", {})
    assert said["code"] == "not_in_its_place" and flows.coordinator.rows(Run) == before
    assert f"pancode runs retry --alone {run}" in said["fix"]
    return said["message"], said["fix"]


def run_of(flows: Flows, name: str) -> str:
    return str({one["name"]: one["run"] for one in flows.show()["steps"]}[name])


def failed_chain(flows: Flows) -> str:
    """Its second step has failed."""
    flows.begin(step("a"), step("b", "a"), step("c", "b"), kind="chain", budget="5")
    flows.claim()
    flows.end("a")
    flows.claim()
    flows.end("b", **ERROR)
    return run_of(flows, "b")


def test_a_retry_takes_its_step_and_the_chain_goes_on(flows: Flows) -> None:
    first = failed_chain(flows)
    workflow = flows.show()["workflow"]
    queued = retry(flows, first)
    assert queued["workflow"] == workflow and flows.states() == {"a": "done", "b": "pending", "c": "waiting"}
    run = flows.coordinator.row(Run, queued["run"])
    assert (run.workflow, run.step, run.retry_of) == (workflow, "b", first)
    assert flows.claim() == ["b"]
    flows.end("b")
    flows.claim()
    flows.end("c")
    told = flows.show()
    assert told["state"] == "done" and [one["runs"] for one in told["steps"]][1] == [first, run.id]
    receipt = flows.world.http.get(f"/v1/workflows/{workflow}/receipt").json()
    assert {first, run.id} <= {one["name"] for one in receipt["statement"]["subject"]}
    flows.check_sums(workflow)


def test_the_second_retry_of_one_step_is_told_which_run_has_its_place(flows: Flows) -> None:
    first = failed_chain(flows)
    second = retry(flows, first)["run"]
    words, fix = refused(flows, first)
    assert f"{second} already took its place" in words and f"pancode runs show {second}" in fix


def test_it_fails_again_and_is_retried_again(flows: Flows) -> None:
    first = failed_chain(flows)
    second = retry(flows, first)["run"]
    flows.claim()
    flows.end("b", **ERROR)
    assert flows.states() == {"a": "done", "b": "failed", "c": "skipped"}
    words, fix = refused(flows, first)
    assert second in words and fix.startswith(f"pancode runs retry {second};")
    retry(flows, second)
    flows.claim()
    flows.end("b")
    assert flows.states()["b"] == "done"


def test_alone_it_stays_outside(flows: Flows) -> None:
    queued = retry(flows, failed_chain(flows), alone=True)
    assert "workflow" not in queued and flows.coordinator.row(Run, queued["run"]).workflow is None
    assert flows.show()["state"] == "failed"


def test_of_a_batch_only_this_task_begins_again(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), step("c"))
    flows.claim()
    for name in "ab":
        flows.end(name, **ERROR)
    words, fix = refused(flows, run_of(flows, "a"))
    assert "has not ended" in words and fix.startswith("pancode workflow show -f w-")
    flows.end("c")
    retry(flows, run_of(flows, "a"))
    assert flows.states() == {"a": "pending", "b": "failed", "c": "done"}
    flows.claim()
    flows.end("a")
    told = flows.show()
    assert told["state"] == "partial" and told["reason"].startswith("2 of 3 are done; b: error")
    words, fix = refused(flows, run_of(flows, "a"))
    assert "the step is done" in words and "pancode runs retry w-" in fix


def test_beside_another_failure_nothing_would_go_on(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), step("c", "a", "b"), kind="graph")
    flows.claim()
    flows.end("a", **ERROR)
    flows.end("b", **ERROR)
    words, fix = refused(flows, run_of(flows, "a"))
    assert words.endswith("b did not succeed either") and fix.startswith("pancode workflow resume w-")


def test_beside_a_step_that_stays_over_nothing_would_go_on(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), step("c", "a", "b"), kind="graph", concurrency=1)
    flows.claim()
    flows.end("a", **ERROR)
    words, fix = refused(flows, run_of(flows, "a"))
    assert words.endswith("b would not continue") and fix.startswith("pancode workflow resume w-")


def test_a_step_that_a_user_has_denied_asks_again(flows: Flows) -> None:
    flows.begin(step("a", ask=True), step("b", "a"), kind="chain")
    first = run_of(flows, "a")
    assert flows.claim() == []
    said = flows.world.http.post(f"/v1/runs/{first}/deny", {"by": "ana"})
    assert said.status_code == 200, said.text
    flows.advance()
    second = retry(flows, first)["run"]
    assert flows.claim() == [] and flows.coordinator.row(Run, second).waits == "person"


def test_of_a_race_without_a_winner_one_may_try_again(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), kind="race", race={"by": "first"})
    flows.claim()
    flows.end("a", **ERROR)
    flows.end("b", **ERROR)
    retry(flows, run_of(flows, "b"))
    flows.claim()
    flows.end("b")
    assert (flows.show()["state"], flows.show()["winner"]) == ("done", "b")
    assert "b won the race" in refused(flows, run_of(flows, "a"))[0]


def test_a_lost_run_is_given_up_and_its_step_goes_on(flows: Flows) -> None:
    flows.begin(step("a"), step("b", "a"), kind="chain")
    flows.claim()
    first = lost(flows, "a")
    second = retry(flows, first)["run"]
    flows.node.deliver(flows.jobs["a"])
    flows.coordinator.turn()
    assert flows.coordinator.row(Run, first).outcome is Outcome.LOST, "the late word of it is evidence only"
    flows.node.open.clear()
    flows.claim()
    flows.end("a")
    assert flows.states() == {"a": "done", "b": "pending"} and flows.show()["steps"][0]["run"] == second


def test_a_lost_run_that_is_done_after_all_needs_no_retry(flows: Flows) -> None:
    flows.begin(step("a"), step("b", "a"), kind="chain")
    flows.claim()
    first = lost(flows, "a")
    flows.end("a")
    words, fix = refused(flows, first)
    assert "has succeeded after all" in words and fix.startswith("pancode workflow resume w-")


def test_a_question_is_answered_and_not_retried(flows: Flows) -> None:
    flows.begin(agent("a"), kind="chain")
    flows.claim()
    flows.end("a", **ASKS)
    first = run_of(flows, "a")
    words, fix = refused(flows, first)
    assert "it asked a user" in words and fix.startswith(f'pancode answer {first} "..."')
    second = answer(flows, first)
    flows.claim()
    flows.end("a", **ERROR)
    words, fix = refused(flows, second)
    assert f"{first} asked a question" in words and fix.startswith("pancode workflow resume w-")


def test_it_begins_with_what_the_steps_before_it_have_left(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    flows.begin(git("a"), git("b", "a"), kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("a", **changed(trees, "b"))
    flows.claim()
    flows.end("b", **ERROR)
    old = flows.runs()["b"]
    run = flows.coordinator.row(Run, retry(flows, old.id)["run"])
    assert run.workspace == old.workspace and run.terms["origin"] == old.terms["origin"]
    flows.claim()
    flows.end("b", **changed(trees, "c"))
    assert flows.show()["results"] == [run.id]


def test_a_refused_retry_leaves_the_workflow_as_it_was(flows: Flows) -> None:
    first = failed_chain(flows)
    before = flows.show()
    flows.world.http.post("/v1/fleet/drain", {"reason": "no more"})
    said = flows.world.http.post(f"/v1/runs/{first}/retry", {})
    assert said.status_code >= 400, said.text
    assert flows.show() == before
