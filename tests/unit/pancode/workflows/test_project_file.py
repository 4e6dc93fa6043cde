"""A workflow file of a project: nothing begins outside of a sandbox, or for a shipped name, without an
approval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.app.http_routes import VERBS
from pancode.interfaces.http.bodies import parse_body
from pancode.interfaces.http.routing import ApiCall
from pancode.kernel.errors import RefusedError
from pancode.kernel.records import Audit, Run
from tests.unit.pancode.interfaces.http.world import app_of
from tests.unit.pancode.runs.world import facts
from tests.unit.pancode.workflows.trees import Trees, git
from tests.unit.pancode.workflows.world import Flows, step

FILE = {"place": ".pancode/workflows/review-loop.yaml", "digest": "a" * 64}
SHADOW = {**FILE, "replaces": "review-loop"}


def asked(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": "chain", "name": "review-loop", "steps": list(steps), "file": FILE, **more}


def refused(flows: Flows, body: dict[str, Any]) -> dict[str, Any]:
    told = flows.world.problem("POST", "/v1/workflows", body)
    assert told["code"] == "needs_yes", told
    assert flows.claim() == [] and flows.world.http.get("/v1/workflows").json()["workflows"] == []
    return told


def sandboxed(flows: Flows) -> None:
    known = tuple(RuntimeFact(name=name, state="ok") for name in ("shell", "scripted"))
    flows.node.facts = facts(runtimes=known, isolation=Isolation.SANDBOX)
    flows.node.breathe()


def test_a_step_without_a_workspace_waits_for_a_yes_once_for_each_content(flows: Flows) -> None:
    told = refused(flows, asked(step("a"), step("b", "a")))
    assert (
        "steps a, b have `workspace: none`" in told["why"]
        and "--yes" in told["fix"]
        and FILE["place"] in told["message"]
    )
    flows.begin(step("a"), kind="chain", file=FILE, yes=True, by="ada")
    entry = next(one for one in flows.coordinator.rows(Audit) if one.what == "workflow file approved")
    assert entry.detail == {"file": FILE["place"], "digest": FILE["digest"], "by": "ada"}
    assert flows.claim() == ["a"]
    flows.begin(step("a"), kind="chain", file=FILE)
    other = {**FILE, "digest": "b" * 64}
    assert flows.world.problem("POST", "/v1/workflows", asked(step("a"), file=other))["code"] == "needs_yes"


def test_a_run_cannot_say_yes_for_a_user(flows: Flows) -> None:
    refused(flows, asked({**step("a"), "dispatch": step("a")["dispatch"]}, yes=True, depth=1))


def test_what_takes_the_place_of_a_shipped_workflow_waits_and_is_said_each_time(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    sandboxed(flows)
    body: dict[str, Any] = {
        "kind": "chain",
        "name": "review-loop",
        "cwd": str(tmp_path / "shop"),
        "file": SHADOW,
    }
    told = refused(flows, {**body, "steps": [git("a")]})
    assert "which replaces the workflow that PanCode ships" in told["why"]
    dry = flows.world.http.post("/v1/workflows", {**body, "steps": [git("a")], "dry_run": True}).json()
    assert not dry["admitted"] and "which replaces the workflow" in dry["reason"]
    flows.begin(git("a"), **body, yes=True)
    again = flows.begin(git("a"), **body)
    assert any("which replaces the workflow" in said for said in again["warnings"])


def test_without_a_yes_all_its_steps_run_in_a_sandbox_or_not_at_all(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    body: dict[str, Any] = {"kind": "chain", "name": "mine", "cwd": str(tmp_path / "shop"), "file": FILE}
    steps = [git("a"), git("b", "a")]
    told = refused(flows, {**body, "steps": steps})
    assert "step a would run outside of a sandbox" in told["why"]
    dry = flows.world.http.post("/v1/workflows", {**body, "steps": steps, "dry_run": True}).json()
    assert not dry["admitted"] and "outside of a sandbox" in dry["reason"]
    refused(flows, {**body, "kind": "batch", "steps": [git("a")], "partial": True})
    sandboxed(flows)
    flows.begin(*steps, **body)
    assert [run.terms["walled"] for run in flows.runs().values()] == [True]
    flows.claim()
    flows.end("a")
    assert flows.runs()["b"].terms["walled"], "a later step, too"
    flows.node.facts = facts(runtimes=flows.node.facts.runtimes)
    flows.node.breathe()
    flows.begin(*steps, **body, yes=True)
    assert "walled" not in flows.runs()["a"].terms


def test_a_schedule_of_such_a_file_asks_when_it_is_made(flows: Flows) -> None:
    body = {"name": "nightly", "cron": "0 2 * * *", "workflow": asked(step("a"))}
    assert flows.world.problem("POST", "/v1/schedules", body)["code"] == "needs_yes"
    agreed = {**body, "workflow": asked(step("a"), yes=True)}
    assert flows.world.http.post("/v1/schedules", agreed).status_code == 201


def test_a_run_of_such_a_file_is_retried_in_a_sandbox_too(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    sandboxed(flows)
    flows.begin(git("a"), kind="chain", name="mine", cwd=str(tmp_path / "shop"), file=FILE)
    flows.claim()
    flows.end("a", outcome=Outcome.ERROR, reason="red")
    again = flows.world.http.post(f"/v1/runs/{flows.runs()['a'].id}/retry", {"alone": True}).json()["run"]
    assert flows.coordinator.row(Run, again).terms["walled"]


def test_what_a_run_begins_of_such_a_file_keeps_its_wall(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    flows.begin(step("lead"))
    flows.claim()
    lead = flows.runs()["lead"]
    assert "walled" not in lead.terms, "it has none itself"
    (verb,) = [one for one in VERBS if one.name == "POST /v1/workflows"]
    told = {"kind": "chain", "name": "mine", "cwd": str(tmp_path / "shop"), "file": FILE}
    body = parse_body(verb.body, {**told, "steps": [git("a"), git("b", "a")]})
    _, desk = app_of(flows.world.coordinator)
    with pytest.raises(RefusedError) as refused:
        verb.answered(desk, ApiCall({}, {}, body, inside=lead, key="k"))
    assert refused.value.code == "needs_yes" and flows.claim() == []
