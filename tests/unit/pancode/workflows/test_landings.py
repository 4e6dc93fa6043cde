"""What a workflow lands: each change of a batch, the result of a chain at its end; counted, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.receipt import GateResult
from pancode.kernel.errors import WorkspaceError
from pancode.kernel.records import Action, ActionKind, Run
from pancode.landing import queue as asked
from pancode.runs.request import LandWay
from pancode.schedules.records import Schedule
from pancode.schedules.work import work_of
from pancode.workflows.planned import PlannedWorkflow
from tests.unit.pancode.runs.world import failed
from tests.unit.pancode.workflows.trees import Trees, changed, git
from tests.unit.pancode.workflows.world import Flows

HELD = WorkspaceError(
    "r was not landed: held",
    why="Makefile: decides",
    fix="look",
    code="held",
    details={"yes": "--with-commands"},
)


def queued(flows: Flows) -> list[str]:
    """The steps whose change waits in the queue of landings."""
    core = flows.coordinator.core
    return [str(flows.coordinator.row(Run, action.run).step) for action in asked.list_waiting(core)]


def land(flows: Flows, step: str, refused: WorkspaceError | None = None) -> None:
    """What the queue does with the landing of that step."""

    def lands(run: Run, way: LandWay, wanted: Any) -> dict[str, Any]:
        if refused is not None:
            raise refused
        return {"status": "landed", "commit": run.result["commit"], "files": ["a"], "tree": "/shop"}

    rows = flows.coordinator.rows(Action)
    action = next(one for one in rows if one.kind is ActionKind.LAND and one.run == flows.runs()[step].id)
    asked.carry_out(flows.coordinator.core, action, lands, lambda: False)


def test_the_landings_of_a_batch_are_counted_and_each_one_says_how_it_is(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    """`batch --land` said "4 of 4 steps done" with status 0 while nothing of it was landed."""
    flows.begin(*(git(name, land=True) for name in "abcd"), cwd=str(tmp_path / "shop"))
    flows.claim()
    assert flows.show()["landed"] == {"asked": 4, "landed": 0, "waiting": 4, "not_landed": 0}
    for name, letter in zip("abc", "bcd", strict=True):
        flows.end(name, **changed(trees, letter))
    flows.end("d", **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    told = flows.show()
    assert told["state"] == "partial"
    assert told["landed"] == {"asked": 3, "landed": 0, "waiting": 3, "not_landed": 0}
    land(flows, "a")
    land(flows, "b", HELD)
    told = flows.show()
    assert told["landed"] == {"asked": 3, "landed": 1, "waiting": 1, "not_landed": 1}
    landings = {step["name"]: step["landing"] for step in told["steps"]}
    assert [landings[name]["status"] for name in "abcd"] == ["landed", "held", "waiting", "not landed"]
    assert landings["b"]["yes"] == ["--with-commands"]


@pytest.mark.parametrize("kind", ["chain", "race"])
def test_the_result_of_a_chain_or_race_is_landed_at_its_end_though_nobody_waits(
    flows: Flows, trees: Trees, tmp_path: Path, kind: str
) -> None:
    more: dict[str, Any] = {"race": {"by": "smallest"}} if kind == "race" else {}
    steps = (git("a"), git("b", *(("a",) if kind == "chain" else ())))
    flows.begin(*steps, kind=kind, land=True, cwd=str(tmp_path / "shop"), **more)
    flows.claim()
    flows.end("a", **changed(trees, "b"))
    assert queued(flows) == [] and flows.show()["landed"]["asked"] == 0
    flows.claim()
    trees.sizes = {"b" * 40: 5, "c" * 40: 2}
    flows.end("b", **changed(trees, "c"))
    assert flows.show()["state"] == "done" and queued(flows) == ["b"]
    land(flows, "b")
    assert flows.show()["landed"] == {"asked": 1, "landed": 1, "waiting": 0, "not_landed": 0}


def test_what_does_not_end_well_lands_nothing_before_it_was_resumed(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    flows.begin(git("a"), git("b", "a"), kind="chain", land=True, cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("a", **changed(trees, "b"))
    flows.claim()
    flows.end("b", **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    assert flows.show()["state"] == "failed" and queued(flows) == []
    flows.world.http.post("/v1/workflows/last/resume", {})
    flows.advance()
    flows.claim()
    flows.end("b", **changed(trees, "c"))
    assert queued(flows) == ["b"]


def test_the_change_of_an_agent_that_a_user_supervises_is_held_for_that_user(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    agent = "{description: d, system_prompt: i, readonly: false, runtime: scripted, autonomy: supervised}"
    (tmp_path / "panagents.yaml").write_text(f"agents: {{careful: {agent}}}")
    step = git("a", agent="careful", runtime="scripted")
    flows.begin(step, kind="chain", land=True, cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("a", **changed(trees, "b"))
    told = flows.show()
    assert queued(flows) == [] and told["landed"]["not_landed"] == 1
    run = told["steps"][0]["run"]
    assert told["steps"][0]["landing"]["fix"] == f"pancode approve {run}"
    assert [item["command"] for item in told["inbox"]] == [f"pancode approve {run}"]


PASSED = (GateResult(name="true", argv=("true",), passed=True, exit_code=0, duration_ms=1),)
AUTOMATIC = "dispatch: {land: when-passed}"


def test_the_settings_land_what_has_passed_its_gates(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    (tmp_path / "pancode.yaml").write_text(AUTOMATIC)
    flows.begin(git("a", verify=["true"]), git("b"), cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("a", **changed(trees, "b"), gates=PASSED)
    flows.end("b", **changed(trees, "c"))
    assert queued(flows) == ["a"], "b has no gates"
    assert flows.show()["landed"]["asked"] == 1


def test_the_settings_land_the_result_of_a_chain_and_not_its_steps(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    (tmp_path / "pancode.yaml").write_text(AUTOMATIC)
    steps = (git("a", verify=["true"]), git("b", "a", verify=["true"]))
    flows.begin(*steps, kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("a", **changed(trees, "b"), gates=PASSED)
    assert queued(flows) == []
    flows.claim()
    flows.end("b", **changed(trees, "c"), gates=PASSED)
    assert queued(flows) == ["b"]


def test_what_a_token_or_a_run_asks_for_is_not_landed_by_the_settings(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    """They may dispatch and may not land."""
    (tmp_path / "pancode.yaml").write_text(AUTOMATIC)
    steps, place = (git("a", verify=["true"]),), str(tmp_path / "shop")
    for more in ({"by": "token robot"}, {"depth": 1}):
        flows.begin(*steps, cwd=place, **more)
        flows.claim()
        flows.end("a", **changed(trees, "b"), gates=PASSED)
        assert queued(flows) == [], more


@pytest.mark.parametrize("kind", ["batch", "chain"])
def test_where_nothing_is_landed_by_itself_asking_for_it_is_refused(
    flows: Flows, trees: Trees, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "pancode.yaml").write_text("dispatch: {land: never}")
    own: dict[str, Any] = {"land": True} if kind == "batch" else {}
    whole: dict[str, Any] = {} if own else {"land": True}
    body = {"kind": kind, "steps": [git("a", **own)], "cwd": str(tmp_path / "shop"), **whole}
    refused = flows.world.problem("POST", "/v1/workflows", body)
    assert "dispatch.land: never" in refused["message"] and "pancode land RUN" in refused["fix"]
    assert flows.claim() == []


def test_what_a_schedule_begins_is_landed_at_its_end_as_well(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    """`schedule add --chain NAME --land` kept the word to itself."""
    chain = {"kind": "chain", "steps": [git("a")], "land": True, "cwd": str(tmp_path / "shop")}
    asked = {"name": "nightly", "cron": "0 3 * * *", "workflow": chain}
    assert flows.world.http.post("/v1/schedules", asked).status_code == 201
    work = work_of(flows.coordinator.core, flows.coordinator.row(Schedule, "nightly"))
    assert work.lands and isinstance(work.plan, PlannedWorkflow) and work.plan.plan.caller["land"]
