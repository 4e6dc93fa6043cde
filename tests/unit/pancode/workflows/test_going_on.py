"""A workflow that continues: steps judged at the beginning, lost runs, an open breaker, a user's approval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.control import Tombstone
from node_agent.wire.failure import Outcome
from node_agent.wire.node import RuntimeFact
from pancode.kernel.records import Run
from pancode.workflows.records import Workflow
from tests.unit.pancode.runs.world import facts
from tests.unit.pancode.workflows.world import ERROR, Flows, step

CLAUDE: dict[str, Any] = {"runtime": "claude", "told_only": True}
RESUME = "/v1/workflows/last/resume"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"agent": "nobody"}, "nobody"),
        ({"node": "n9"}, "n9"),
        ({"require": {"gpu": "yes"}}, "gpu"),
        ({"safety": "suggest"}, "suggest"),
    ],
)
def test_a_step_that_would_be_refused_later_is_refused_before_anything_is_paid(
    flows: Flows, more: dict[str, Any], words: str
) -> None:
    later = step("build", "plan", runtime="scripted", **more)
    body = {"kind": "chain", "steps": [step("plan"), later]}
    refused = flows.world.problem("POST", "/v1/workflows", body)
    assert refused["message"].startswith("step build: ") and words in refused["message"] and refused["fix"]
    assert refused["details"]["step"] == "build"
    assert not flows.coordinator.rows(Run) and not flows.coordinator.rows(Workflow)


def lost(flows: Flows, name: str) -> str:
    """Its node names it for the last time, and is silent for the whole deadline."""
    flows.node.breathe()
    for _ in range(100):
        flows.coordinator.turn(10_000)
    run: Run = flows.runs()[name]
    assert run.outcome is Outcome.LOST
    flows.advance()
    flows.node.breathe()
    return run.id


def test_a_run_that_was_lost_is_replaced_and_must_end(flows: Flows) -> None:
    flows.begin(step("a"), step("b", "a"), kind="chain")
    flows.claim()
    first = lost(flows, "a")
    assert flows.states() == {"a": "failed", "b": "skipped"}
    flows.node.controls()
    assert flows.world.http.post(RESUME).status_code == 200
    flows.advance()
    again = flows.runs()["a"]
    assert again.id != first and again.retry_of == first
    flows.node.breathe()
    told = [one.body for one in flows.node.controls()]
    assert [body.run for body in told if isinstance(body, Tombstone)] == [first]
    old = flows.jobs["a"]
    flows.node.deliver(old)
    flows.coordinator.turn()
    flows.advance()
    assert flows.coordinator.row(Run, first).outcome is Outcome.LOST, "the late word of it is evidence only"
    assert flows.states()["a"] == "pending"
    flows.node.open.clear()
    flows.claim()
    flows.end("a")
    flows.claim()
    flows.end("b")
    assert flows.show()["state"] == "done"
    flows.check_sums(flows.show()["workflow"])


def test_a_lost_run_that_is_done_after_all_is_not_run_again(flows: Flows) -> None:
    flows.begin(step("a"), step("b", "a", task="$INPUT", runtime="scripted"), kind="chain")
    flows.claim()
    first = lost(flows, "a")
    flows.end("a", answer="after all")
    assert flows.coordinator.row(Run, first).outcome is Outcome.DONE
    assert flows.show()["state"] == "failed", "its end was signed"
    assert flows.world.http.post(RESUME).status_code == 200
    flows.advance()
    assert flows.states() == {"a": "done", "b": "pending"} and flows.runs()["b"].task == "after all"
    assert [one["runs"] for one in flows.show()["steps"]][0] == [first]
    flows.claim()
    flows.end("b")
    flows.check_sums(flows.show()["workflow"])


def test_the_late_word_counts_while_the_others_of_a_batch_still_run(flows: Flows) -> None:
    flows.begin(step("a"), step("b", runtime="scripted"), concurrency=1)
    flows.claim()
    lost(flows, "a")
    assert flows.states() == {"a": "failed", "b": "pending"}
    flows.end("a")
    assert flows.states() == {"a": "done", "b": "pending"}
    flows.claim()
    flows.end("b")
    assert flows.show()["state"] == "done"


def test_a_step_waits_for_the_breaker_of_its_agent(flows: Flows) -> None:
    """A batch that failed five times has opened it while the first step of the chain was at work."""
    flows.node.facts = facts(runtimes=tuple(RuntimeFact(name=one, state="ok") for one in ("shell", "claude")))
    flows.node.breathe()
    chain = [step("first"), step("next", "first", task="something else", **CLAUDE)]
    flows.begin(*chain, kind="chain")
    flows.claim()
    flows.begin(*(step(f"s{n}", task=f"t{n}", **CLAUDE) for n in range(5)))
    flows.advance()
    for name in flows.claim():
        flows.end(name, **ERROR)
    body = {"steps": [step("x", **CLAUDE)], "kind": "batch"}
    refused = flows.world.problem("POST", "/v1/workflows", body)
    assert refused["code"] == "breaker_open"
    flows.end("first")
    found = flows.world.http.get("/v1/workflows").json()["workflows"][1]
    held = found["steps"][1]
    assert (held["state"], held["run"]) == ("waiting", None) and "breaker" in held["reason"]
    assert found["state"] == "running" and flows.claim() == []
    flows.wait(60_000)
    assert flows.claim() == [], "it is still open"
    for _ in range(11):
        flows.wait(60_000)
    assert flows.claim() == ["next"], "it lets one run through"
    flows.end("next")
    assert flows.show(found["workflow"])["state"] == "done"


def test_a_user_says_yes_to_what_goes_on(flows: Flows, tmp_path: Path) -> None:
    asks = "{description: d, system_prompt: i, readonly: false, autonomy: confirmatory}"
    (tmp_path / "panagents.yaml").write_text(f"agents: {{asker: {asks}}}")
    flows.begin(step("a"), step("b", "a", agent="asker", runtime="scripted"), kind="chain", yes=True)
    flows.claim()
    flows.end("a", **ERROR)
    assert flows.world.http.post(RESUME, {"yes": True}).status_code == 200
    flows.advance()
    flows.claim()
    flows.end("a")
    assert flows.states() == {"a": "done", "b": "pending"}
