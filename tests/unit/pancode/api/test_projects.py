"""Projects: added, changed and taken back like settings; found by folder, remote address, name and issue."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pancode.core.records import Decision
from tests.unit.pancode.api.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def repository(top: Path, remote: str = "") -> Path:
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    if remote:
        subprocess.run(["git", "-C", str(top), "remote", "add", "origin", remote], check=True)
    return top


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return repository(tmp_path / "Shop 2", "git@github.com:me/shop.git")


def add(world: World, **body: Any) -> dict[str, Any]:
    answer = world.http.post("/v1/projects", {"by": "ana", **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def settings(world: World, folder: Path) -> dict[str, tuple[str, str]]:
    rows = world.http.get("/v1/config", cwd=str(folder)).json()["settings"]
    return {row["key"]: (row["value"], row["origin"]) for row in rows}


def test_its_defaults_count_in_its_repository_and_say_so(world: World, shop: Path, tmp_path: Path) -> None:
    (shop / "pancode.yaml").write_text("verify: [make check]\ndispatch: {agent: scout}\n")
    world.http.post("/v1/config/set", {"by": "ana", "key": "budget.per_run", "value": "9"})
    gates = {"verify": ["pytest -q"], "require": {"gpu": "24g"}}
    made = add(world, path=str(shop), agent="builder", budget="2", **gates)
    assert (made["name"], made["path"], made["remote"]) == ("shop-2", str(shop), "github.com/me/shop")
    here, elsewhere = settings(world, shop), settings(world, tmp_path)
    assert here["dispatch.agent"] == ("builder", "project shop-2")
    assert here["budget.per_run"] == ("2", "project shop-2")
    assert here["verify"][0] == "[[pytest, -q]]"
    assert here["dispatch.require"] == ("{gpu: 24g}", "project shop-2")
    assert (elsewhere["dispatch.agent"][0], elsewhere["budget.per_run"][0]) == ("null", "9")


def test_a_clone_of_the_same_remote_is_the_project_wherever_it_lies(world: World, shop: Path) -> None:
    add(world, path=str(shop), name="shop", agent="builder")
    clone = repository(shop.parent / "elsewhere", "https://ana:secret@github.com/me/shop")
    other = repository(shop.parent / "other", "https://github.com/me/another")
    assert settings(world, clone)["dispatch.agent"] == ("builder", "project shop")
    assert settings(world, other)["dispatch.agent"][0] == "null"
    assert "secret" not in str(world.http.get("/v1/projects").json())


def test_a_dispatch_names_a_project_or_an_issue_and_flags_win(world: World, shop: Path) -> None:
    add(world, path=str(shop), name="shop", prefix="MIN", require={"gpu": "24g"}, budget="2")
    body = {"task": "true", "runtime": "shell", "dry_run": True, "project": "min-123"}
    report = world.http.post("/v1/runs", body).json()
    assert report["project"] == str(shop)
    assert "gpu=24g" in str(report["nodes"]), "its labels choose the machine"
    pinned = world.http.post("/v1/runs", {**body, "node": "n1"}).json()
    assert "gpu=24g" not in str(pinned["nodes"]), "a machine that is named counts more"
    (world.coordinator.home / "panagents.yaml").write_text("agents:\n  near:\n    node: n1\n")
    near = world.http.post("/v1/runs", {**body, "agent": "near"}).json()
    assert near["nodes"] and "gpu=24g" not in str(near["nodes"]), "that of the agent, too"
    unknown = world.http.post("/v1/runs", {**body, "project": "HH-1"}).json()
    assert unknown["code"] == "project_not_found" and "--prefix HH" in unknown["fix"]
    (shop / ".git").rename(shop / "gone")
    assert world.http.post("/v1/runs", body).json()["code"] == "project_moved"
    assert world.http.get("/v1/projects/shop").json()["there"] is False


def test_why_tells_what_the_project_has_set(world: World, shop: Path) -> None:
    add(world, path=str(shop), name="shop", budget="2", agent="builder")
    run = world.dispatch(workspace=None, cwd=str(shop), budget="1")["run"]
    with world.context.core.ports.ledger.transaction() as tx:
        told = [one.detail for one in tx.find(Decision, {"run": run}) if one.kind == "settings"]
    assert told == ["project shop sets dispatch.agent builder, budget.per_run 2"]


def test_a_change_keeps_what_is_left_out_and_can_be_taken_back(world: World, shop: Path) -> None:
    add(world, path=str(shop), name="shop", agent="builder", prefix="MIN")
    assert add(world, name="shop", agent="scout")["prefix"] == "MIN"
    world.http.post("/v1/config/undo", {"by": "ana"})
    assert world.http.get("/v1/projects/MIN-7").json()["agent"] == "builder"
    removed = world.http.post("/v1/projects/shop/remove", {"by": "ana"})
    assert removed.status_code == 200 and world.http.get("/v1/projects").json() == {"projects": []}
    world.http.post("/v1/config/undo", {"by": "ana"})
    assert [one["name"] for one in world.http.get("/v1/projects").json()["projects"]] == ["shop"]


def test_two_projects_cannot_be_the_same_repository_or_prefix(world: World, shop: Path) -> None:
    add(world, path=str(shop), name="shop", prefix="MIN")
    other = repository(shop.parent / "other")
    for body in ({"path": str(shop), "name": "b"}, {"path": str(other), "prefix": "min"}):
        assert world.problem("POST", "/v1/projects", {"by": "ana", **body})["code"] == "project_taken"
    same = repository(shop.parent / "old" / "shop")
    refused = world.problem("POST", "/v1/projects", {"by": "ana", "path": str(same)})
    assert refused["code"] == "project_taken" and "--name OTHER" in refused["fix"]
    assert add(world, path=str(same), name="shop")["path"] == str(same), "who names it moves it"


@pytest.mark.parametrize(
    "body", [{"path": "/"}, {"path": None}, {"name": "nothing"}, {"path": "SHOP", "name": "a.b"}]
)
def test_what_is_no_project_is_refused(world: World, shop: Path, body: dict[str, Any]) -> None:
    asked = {key: str(shop) if value == "SHOP" else value for key, value in body.items()}
    assert world.http.post("/v1/projects", {"by": "ana", **asked}).status_code in (400, 422)
    assert world.http.get("/v1/projects").json() == {"projects": []}
