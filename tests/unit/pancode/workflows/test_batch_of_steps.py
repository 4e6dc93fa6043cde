"""A batch: all of it is admitted or nothing; some at once, the rest in turn; what it costs together."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pancode.budget.books import Ceilings
from pancode.kernel.records import Run
from pancode.runs.ceilings import set_ceilings
from pancode.workflows.records import Workflow
from tests.unit.pancode.runs.world import Puppet
from tests.unit.pancode.workflows.world import ERROR, Flows, step


@pytest.fixture
def flows(tmp_path: Path) -> Flows:
    return Flows(tmp_path)


def test_all_tasks_run_at_once_and_their_sums_are_the_workflows(flows: Flows) -> None:
    begun = flows.begin(*(step(name, runtime="scripted", budget="0.10") for name in "abc"), name="three")
    assert begun["state"] == "running" and [one["state"] for one in begun["steps"]] == ["pending"] * 3
    assert [one["reason"] for one in begun["steps"]] == [""] * 3, "they wait for nothing: a node has them"
    assert sorted(flows.claim()) == ["a", "b", "c"]
    for name in ("b", "a", "c"):
        flows.end(name)
    told = flows.show(begun["workflow"])
    assert (told["state"], told["reason"]) == ("done", "")
    assert (told["cost"]["usd"], told["cost"]["held_usd"], told["cost"]["runs"]) == ("0.30", "0.00", 3)
    assert [one["outcome"] for one in told["steps"]] == ["done"] * 3
    flows.check_sums(begun["workflow"])


def test_some_failed_is_partial(flows: Flows) -> None:
    flows.begin(step("a"), step("b"))
    flows.claim()
    flows.end("a", **ERROR)
    flows.end("b")
    told = flows.show()
    assert told["state"] == "partial" and told["reason"].startswith("1 of 2 are done; a: error")


def test_no_more_at_once_than_concurrency_allows(flows: Flows) -> None:
    flows.begin(*(step(name) for name in "abcd"), concurrency=2)
    assert flows.claim() == ["a", "b"]
    waiting = flows.world.http.get("/v1/runs", outcome="pending").json()["runs"]
    assert {(run["step"], run["waits"]) for run in waiting} == {("c", "workflow"), ("d", "workflow")}
    flows.end("b")
    assert flows.claim() == ["c"]
    flows.end("a")
    flows.end("c")
    assert flows.claim() == ["d"]
    flows.end("d")
    assert flows.show()["state"] == "done"


def agent(name: str, **more: Any) -> dict[str, Any]:
    """A step that starts an agent program."""
    return step(name, runtime="claude", **more)


def test_each_agent_program_starts_so_long_after_the_one_before(flows: Flows) -> None:
    flows.knows("claude")
    flows.begin(*(agent(name) for name in "abc"), stagger_ms=10_000)
    assert flows.claim() == ["a"]
    flows.wait(10_000)
    assert flows.claim() == ["b"]
    flows.wait(10_000)
    assert flows.claim() == ["c"]


def test_commands_start_at_once(flows: Flows) -> None:
    flows.knows("claude")
    flows.begin(step("a"), agent("b"), step("c"), agent("d"), stagger_ms=10_000)
    assert flows.claim() == ["a", "b", "c"]
    flows.wait(10_000)
    assert flows.claim() == ["d"]


def test_starts_on_different_machines_do_not_wait_for_each_other(flows: Flows) -> None:
    flows.knows("claude")
    other = Puppet(flows.coordinator, "n2")
    other.facts = flows.node.facts
    flows.coordinator.turn()
    other.breathe()
    flows.begin(
        *(agent(name, node=f"n{n}") for name, n in zip("abcd", (1, 2, 2, 1), strict=True)), stagger_ms=9_000
    )
    assert flows.claim() == ["a"] and flows.steps_of(other) == ["b"]
    flows.wait(9_000)
    other.breathe()
    assert flows.claim() == ["d"] and flows.steps_of(other) == ["c"]


def test_the_first_failure_ends_the_rest_where_that_is_asked_for(flows: Flows) -> None:
    flows.begin(*(step(name) for name in "abc"), concurrency=2, fail_fast=True)
    flows.claim()
    flows.end("a", **ERROR)
    assert flows.runs()["b"].stop_asked == "step a did not succeed (fail fast)"
    assert flows.states() == {"a": "failed", "b": "running", "c": "stopped"}


def test_a_refused_task_begins_nothing_and_is_named(flows: Flows) -> None:
    told = flows.world.problem(
        "POST", "/v1/workflows", {"kind": "batch", "steps": [step("a"), step("b", agent="nobody")]}
    )
    assert told["message"].startswith("step b: ") and told["details"]["step"] == "b"
    assert not flows.coordinator.rows(Run) and not flows.coordinator.rows(Workflow)


def test_more_than_the_budget_begins_nothing(flows: Flows) -> None:
    steps = [step(name, budget="0.5") for name in "ab"]
    told = flows.world.problem("POST", "/v1/workflows", {"kind": "batch", "steps": steps, "budget": "0.7"})
    assert (told["code"], told["details"]["step"]) == ("budget", "b")
    assert not flows.coordinator.rows(Run) and not flows.coordinator.rows(Workflow)
    dry = {"kind": "batch", "steps": steps, "budget": "0.7", "dry_run": True}
    planned = flows.world.http.post("/v1/workflows", dry).json()
    assert not planned["admitted"] and planned["reason"] == told["message"]
    assert [one["admitted"] for one in planned["steps"]] == [True, False]
    assert "--partial" in planned["fix"] and "--partial" in told["fix"]
    assert not flows.coordinator.rows(Run) and not flows.coordinator.rows(Workflow)
    assert flows.world.http.post("/v1/workflows", {**dry, "partial": True}).json()["admitted"]


def test_a_dry_run_holds_each_estimate_against_the_ceiling_of_the_day_as_the_real_one(
    flows: Flows, tmp_path: Path
) -> None:
    """It said "would be queued" four times to what the next command refused."""
    set_ceilings(flows.coordinator.core, "day", Ceilings(Decimal("0.05")), "test")
    asked = {"kind": "batch", "steps": [step(name, budget="0.02") for name in "abcd"]}
    planned = flows.world.http.post("/v1/workflows", {**asked, "dry_run": True}).json()
    assert [one["admitted"] for one in planned["steps"]] == [True, True, False, False]
    told = flows.world.problem("POST", "/v1/workflows", asked)
    assert planned["reason"] == told["message"] and told["message"].startswith("step c: ")
    assert "reserved: $0.04" in told["message"]


def test_a_step_says_its_task_agent_node_and_the_first_line_of_its_answer(flows: Flows) -> None:
    flows.begin(step("a", task="\n echo hello\nexit"), step("b", node="n1"), concurrency=1)
    flows.claim()
    flows.end("a", answer="\nhello\nworld")
    first, second = flows.show()["steps"]
    assert (first["task"], first["node"], first["answer"]) == ("echo hello", "n1", "hello")
    assert (second["state"], second["node"], second["answer"]) == ("pending", "n1", "")
    assert first["agent"] == second["agent"] != ""


def test_partial_leaves_out_what_is_refused(flows: Flows) -> None:
    steps = [step("a", budget="0.5"), step("b", budget="0.5")]
    begun = flows.begin(*steps, step("c", agent="nobody"), partial=True, budget="0.7")
    assert flows.states() == {"a": "pending", "b": "refused", "c": "refused"}
    assert "nobody" in begun["steps"][2]["refused"] and "Budget" in begun["steps"][1]["refused"]
    flows.claim()
    flows.end("a")
    again = flows.world.http.post("/v1/workflows/last/retry")
    assert again.status_code in (200, 201), again.text
    assert [one["state"] for one in again.json()["steps"]] == ["pending", "refused", "refused"]


def test_a_dry_run_judges_every_step_and_changes_nothing(flows: Flows) -> None:
    asked = {"kind": "graph", "steps": [step("a"), step("b", "a")], "dry_run": True}
    told = flows.world.http.post("/v1/workflows", asked).json()
    assert told["admitted"] is True and [len(one["gates"]) for one in told["steps"]] == [10, 10]
    assert "later" not in told["steps"][0] and "a is done" in told["steps"][1]["later"]
    assert not flows.coordinator.rows(Workflow)


def test_runs_of_a_workflow_can_be_listed(flows: Flows) -> None:
    begun = flows.begin(step("a"), step("b"))
    flows.world.dispatch()
    runs = flows.world.http.get("/v1/runs", workflow=begun["workflow"]).json()["runs"]
    assert {(run["workflow"], run["step"]) for run in runs} == {(begun["workflow"], n) for n in "ab"}


@pytest.mark.parametrize(
    ("body", "words", "fix"),
    [
        ({"kind": "graph", "steps": [step("a", "b"), step("b", "a")]}, "a -> b -> a", "needs"),
        (
            {"kind": "graph", "steps": [step("a", "nobody")]},
            "steps.0.needs: step a needs 'nobody'",
            "one of its steps: a",
        ),
        (
            {"kind": "graph", "steps": [step("a", "a")]},
            "steps.0.needs: steps wait for each other: a -> a",
            "",
        ),
        ({"kind": "batch", "steps": [step("a"), step("a")]}, "steps.1.name", ""),
        ({"kind": "batch", "steps": []}, "steps", ""),
        ({"kind": "race", "steps": [step("a")]}, "race", "by: first"),
        ({"kind": "graph", "steps": [step("a", max=2)]}, "no until", "until"),
        (
            {"kind": "graph", "steps": [step("a"), step("b", task="{{ steps.a.answer }}")]},
            "steps.1.task: step b: {{ steps.a.answer }} is not a valid reference",
            "needs: [a]",
        ),
        (
            {"kind": "graph", "steps": [step("a", task="{{ steps.x.anser }}")]},
            "not a valid reference",
            "answer",
        ),
        (
            {"kind": "graph", "steps": [{"name": "a", "dispatch": {"taks": "x"}}]},
            "steps.0.dispatch.taks",
            "task?",
        ),
    ],
)
def test_a_wrong_workflow_is_told_its_place_and_the_fix(
    flows: Flows, body: dict[str, object], words: str, fix: str
) -> None:
    told = flows.world.problem("POST", "/v1/workflows", body)
    assert words in told["message"] and fix in told["fix"] and told["exit_code"] == 2
    assert not flows.coordinator.rows(Workflow)


def test_a_task_of_a_batch_is_taken_as_it_is(flows: Flows) -> None:
    """A script may have a variable of that name."""
    task = "echo $INPUT $ORIGINAL {{ steps.other.answer }}"
    begun = flows.begin(step("a", task=task), input="not this")
    run = flows.show(begun["workflow"])["steps"][0]["run"]
    assert flows.world.http.get(f"/v1/runs/{run}").json()["task"] == task


@pytest.mark.parametrize("path", ["/v1/runs?workflow=w-nope", "/v1/events?end=1&workflow=w-nope"])
def test_a_filter_by_a_workflow_that_nothing_has(flows: Flows, path: str) -> None:
    assert flows.world.problem("GET", path)["exit_code"] == 4
