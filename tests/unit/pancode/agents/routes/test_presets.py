"""Presets through the API: listed, applied, in force, said where they raise, taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.config.agents.presets import APPLIED, FILE
from pancode.kernel.records import Audit
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / FILE).write_text(
        "strict: {safety: suggest}\nopen: {safety: full-auto}\nquick: {workerModel: anthropic/quick}\n"
    )
    return World(tmp_path)


def applied(world: World) -> list[str]:
    return [p["name"] for p in world.http.get("/v1/presets").json()["presets"] if p["applied"]]


def plan(world: World, **more: Any) -> dict[str, Any]:
    body = world.shell(dry_run=True, **more)
    return dict(world.http.post("/v1/runs", body).json())


def test_all_of_them_and_one(world: World, tmp_path: Path) -> None:
    names = [p["name"] for p in world.http.get("/v1/presets").json()["presets"]]
    assert names == ["local", "openai", "openai-max", "hybrid", "strict", "open", "quick"]
    one = world.http.get("/v1/presets", name="quick").json()["presets"]
    assert [p["origin"] for p in one] == [f"{tmp_path / FILE}:3"]
    assert one[0]["worker_model"] == "anthropic/quick" and one[0]["safety"] is None
    assert "quick?" in world.problem("GET", "/v1/presets?name=quik")["why"]


def test_an_applied_preset_is_that_of_every_dispatch_until_it_is_unset(world: World, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert plan(world)["safety"] == "auto-edit"
    answer = world.http.post("/v1/presets/apply", {"name": "strict", "by": "ana"}).json()
    row = {"key": "dispatch.safety", "value": "suggest", "origin": "preset strict"}
    assert answer == {"preset": "strict", "before": None, "settings": [row], "warnings": []}
    assert applied(world) == ["strict"]
    assert plan(world)["safety"] == "suggest"
    assert plan(world, preset="none")["safety"] == "auto-edit"
    assert plan(world, preset="open")["safety"] == "full-auto"
    assert plan(world, safety="auto-edit")["safety"] == "auto-edit"
    assert world.http.post("/v1/presets/unset", {"by": "ana"}).json() == {"preset": None, "before": "strict"}
    assert (plan(world)["safety"], applied(world)) == ("auto-edit", [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    with world.context.core.ports.ledger.transaction() as tx:
        said = [(a.what, a.detail["by"]) for a in tx.find(Audit) if a.what.startswith("preset")]
    assert said == [("preset applied", "ana"), ("preset unset", "ana")]


def test_a_preset_that_raises_safety_says_so_wherever_it_counts(world: World) -> None:
    words = "preset open raises safety from auto-edit to full-auto"
    refused = world.problem("POST", "/v1/presets/apply", {"name": "open"})
    assert (refused["code"], refused["fix"]) == ("needs_yes", "pancode config use open --yes")
    applied = world.http.post("/v1/presets/apply", {"name": "open", "yes": True}).json()
    assert applied["warnings"] == [words]
    gate = next(g for g in plan(world, told_only=True)["gates"] if g["gate"] == "safety")
    assert gate["warning"] and words in gate["words"]
    gate = next(g for g in plan(world, told_only=True, safety="full-auto")["gates"] if g["gate"] == "safety")
    assert words not in gate["words"]


def test_a_variable_of_this_command_that_a_preset_outranks_is_said(world: World, tmp_path: Path) -> None:
    words = "PANCODE_WORKER_MODEL is ignored, because preset quick sets anthropic/quick"
    said = {"models.worker": "llamacpp/tiny"}
    asked = {"task": "do it", "workspace": "none", "preset": "quick", "settings": said}
    refused = world.problem("POST", "/v1/runs", {**asked, "require": {"zone": "moon"}})
    assert refused["code"] == "refused_routing" and words in refused["why"], refused
    assert world.http.post("/v1/runs", {**asked, "dry_run": True}).json()["notes"] == [words]
    flagged = world.http.post("/v1/runs", {**asked, "dry_run": True, "model": "anthropic/opus"}).json()
    assert flagged["notes"] == []
    (tmp_path / "panagents.yaml").write_text("agents: {builder: {model: anthropic/opus}}")
    assert world.http.post("/v1/runs", {**asked, "dry_run": True}).json()["notes"] == []
    unresolved = world.problem("POST", "/v1/runs", {**asked, "agent": "nobody"})
    assert unresolved["code"] == "agent_not_found" and unresolved["why"].endswith(words)
    assert plan(world, preset="quick", settings=said)["notes"] == []


def test_a_run_cannot_have_more_by_a_preset_than_its_parent(world: World) -> None:
    parent = world.dispatch()["run"]
    told = world.problem("POST", "/v1/runs", world.shell(parent=parent, depth=1, preset="open"))
    assert told["code"] == "refused_safety"
    assert "auto-edit" in told["message"]


def test_what_was_applied_and_is_gone_can_be_taken_back(world: World, tmp_path: Path) -> None:
    world.http.post("/v1/presets/apply", {"name": "quick"})
    (tmp_path / FILE).write_text("")
    told = world.problem("POST", "/v1/runs", world.shell())
    assert (told["exit_code"], told["fix"]) == (3, "pancode config use none")
    (tmp_path / APPLIED).write_text("{")
    assert "unreadable" in world.http.post("/v1/presets/unset").json()["before"]
    assert world.problem("POST", "/v1/presets/unset")["code"] == "no_preset"
    world.dispatch()


def test_unknown_presets_and_levels_name_the_nearest(world: World) -> None:
    told = world.problem("POST", "/v1/presets/apply", {"name": "hybird"})
    assert told["code"] == "preset_not_found" and "hybrid?" in told["why"]
    assert applied(world) == []
    told = world.problem("POST", "/v1/runs", world.shell(preset="opne"))
    assert told["exit_code"] == 4 and "open?" in told["why"]
    told = world.problem("POST", "/v1/runs", world.shell(reasoning="hihg"))
    assert "'hihg'" in told["message"] and "high?" in told["why"]
    assert told["fix"] == "one of off, minimal, low, medium, high, xhigh"
