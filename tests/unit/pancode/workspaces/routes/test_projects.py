"""Projects: added, changed and taken back like settings; found by folder, remote address, name and issue."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.issues.prd import draft_task
from pancode.kernel.records import Decision, Run
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts


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
    made = add(world, path=str(shop), agent="builder", budget="2", gpus="1", gpu_memory="24g", **gates)
    assert (made["name"], made["path"], made["remote"]) == ("shop-2", str(shop), "github.com/me/shop")
    here, elsewhere = settings(world, shop), settings(world, tmp_path)
    assert here["dispatch.agent"] == ("builder", "project shop-2")
    assert here["budget.per_run"] == ("2", "project shop-2")
    assert (here["dispatch.gpus"][0], here["dispatch.gpu_memory"][0]) == ("'1'", "24GB")
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


def test_a_file_of_mappings_is_one_change_and_a_wrong_row_changes_nothing(world: World, shop: Path) -> None:
    add(world, path=str(shop), name="shop", prefix="MIN", agent="builder")
    other, third = repository(shop.parent / "other"), repository(shop.parent / "third")
    rows = [{"path": str(other), "prefix": "OT"}, {"path": str(third), "linear_name": "Third"}]
    before = world.http.get("/v1/projects").json()
    wrong: dict[str, dict[str, str]] = {
        "no_repository": {"path": "/"},
        "other_prefix": {"path": str(shop), "name": "shop", "prefix": "MYN"},
        "project_taken": {"path": str(third), "name": "b", "prefix": "ot"},
    }
    for code, row in wrong.items():
        refused = world.problem("POST", "/v1/projects/mapping", {"by": "ana", "projects": [rows[0], row]})
        assert refused["code"] == code
        assert world.http.get("/v1/projects").json() == before, code
    again = [*rows, {"path": str(shop), "name": "shop", "prefix": "min", "linear_id": "L1"}]
    done = world.http.post("/v1/projects/mapping", {"by": "ana", "projects": again}).json()["projects"]
    assert [(one["name"], one["prefix"]) for one in done] == [("other", "OT"), ("third", ""), ("shop", "min")]
    assert world.http.get("/v1/projects/L1").json()["agent"] == "builder", "what a row does not say stays"
    assert [one["tracker"] for one in done] == ["linear:OT", "", "linear:MIN"]
    world.http.post("/v1/config/undo", {"by": "ana"})
    assert world.http.get("/v1/projects").json() == before, "one change takes all back"


def test_a_long_file_of_mappings_is_one_change(world: World, tmp_path: Path) -> None:
    rows = [
        {"path": str(repository(tmp_path / f"p{n}")), "prefix": f"P{chr(65 + n // 26)}{chr(65 + n % 26)}"}
        for n in range(60)
    ]
    assert world.http.post("/v1/projects/mapping", {"projects": rows}).status_code == 200
    assert len(world.http.get("/v1/projects").json()["projects"]) == 60


@pytest.mark.parametrize(
    "body", [{"path": "/"}, {"path": None}, {"name": "nothing"}, {"path": "SHOP", "name": "a.b"}]
)
def test_what_is_no_project_is_refused(world: World, shop: Path, body: dict[str, Any]) -> None:
    asked = {key: str(shop) if value == "SHOP" else value for key, value in body.items()}
    assert world.http.post("/v1/projects", {"by": "ana", **asked}).status_code in (400, 422)
    assert world.http.get("/v1/projects").json() == {"projects": []}


def written(top: Path, *names: str) -> None:
    for name in names:
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(f"# {name}\n")


def with_agents(world: World) -> World:
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in ("claude", "shell"))
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    world.node.breathe()
    return world


def told(world: World, shop: Path, **more: Any) -> str:
    """The line about the PRD in the prompt of a new run; empty: it has none."""
    body = {"task": "add a button", "agent": "builder", "runtime": "claude", "cwd": str(shop), "by": "ana"}
    answer = world.http.post("/v1/runs", {**body, **more})
    assert answer.status_code == 201, answer.text
    row: Run = world.context.row(Run, answer.json()["run"])
    return next((line for line in row.prompt.splitlines() if "this project is to become" in line), "")


def test_the_first_prd_that_is_there_counts_and_it_is_looked_for_each_time(world: World, shop: Path) -> None:
    assert add(world, path=str(shop), name="shop")["prd"] == ""
    seen = []
    for name in ("readme.md", "PRD.md", "docs/prd.md", "docs/PRD.md"):
        written(shop, name)
        seen.append(world.http.get("/v1/projects/shop").json()["prd"])
    assert seen == ["readme.md", "PRD.md", "docs/prd.md", "docs/PRD.md"]
    written(shop, "docs/spec.md")
    assert add(world, name="shop", prd="docs/../docs/spec.md")["prd"] == "docs/spec.md"
    assert add(world, name="shop", agent="scout")["prd"] == "docs/spec.md", "what is left out stays"
    (shop / "docs/spec.md").unlink()
    assert world.http.get("/v1/projects?prd=1").json()["projects"][0]["prd"] == "docs/PRD.md"
    assert add(world, name="shop", prd="")["prd"] == "docs/PRD.md"
    for wrong in ("docs", "docs/none.md", "../home/x", "/etc/passwd"):
        assert world.problem("POST", "/v1/projects", {"by": "ana", "name": "shop", "prd": wrong})


def test_a_list_that_is_asked_for_each_second_reads_no_folder_of_any_project(
    world: World, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(world, path=str(shop), name="shop")
    listed, lists = list[str](), os.listdir

    def listing(path: str = ".") -> list[str]:
        listed.append(str(path))
        return lists(path)

    monkeypatch.setattr(os, "listdir", listing)
    (row,) = world.http.get("/v1/projects").json()["projects"]
    assert (row["name"], row["prd"], row["there"]) == ("shop", "", True)
    assert not [path for path in listed if path.startswith(str(shop))]
    world.http.get("/v1/projects?prd=1")
    assert [path for path in listed if path.startswith(str(shop))]


def test_agents_of_a_project_are_told_where_its_prd_is_and_nobody_else(world: World, shop: Path) -> None:
    with_agents(world)
    written(shop, "PRD.md", "README.md")
    assert told(world, shop) == "", "the repository is not a project"
    add(world, path=str(shop), name="shop")
    line = told(world, shop)
    assert '"PRD.md"' in line and len(line) < 120
    asked = f"/v1/agents/builder/prompt?cwd={shop}&runtime=claude"
    assert line in world.http.get(asked).json()["pieces"][-2]["text"]
    assert told(world, shop, workspace="none") == "", "there are no files"
    script: Run = world.context.row(
        Run, world.dispatch(workspace="git", cwd=str(shop), task="cat PRD.md")["run"]
    )
    assert (script.prompt, script.task) == ("", "cat PRD.md")
    (shop / ".gitignore").write_text("PRD.md\n")
    assert told(world, shop) == "", "no snapshot has it"
    (shop / ".gitignore").unlink()
    (shop / "pansafety.yaml").write_text("zeroAccessPaths: [PRD.md]\n")
    assert told(world, shop, told_only=True) == "", "it may not read it"
    (shop / "pansafety.yaml").unlink()
    (shop / "PRD.md").unlink()
    assert told(world, shop) == "", "a README is none"
    add(world, name="shop", prd="README.md")
    assert '"README.md"' in told(world, shop)


@pytest.mark.parametrize("has", [False, True])
def test_what_begins_at_an_earlier_result_is_told_of_a_prd_that_is_in_it(
    world: World, shop: Path, has: bool
) -> None:
    """The user wrote it after the workspace began: its runs do not have it."""
    with_agents(world)
    add(world, path=str(shop), name="shop")
    created = world.http.post("/v1/workspaces", {"by": "ana", "name": "login", "cwd": str(shop)})
    assert created.status_code == 201
    world.dispatch(workspace="login", cwd=str(shop))
    job = world.claim()
    world.context.depot.commits.add("a" * 40)
    world.node.carry_out(job, commit="a" * 40, change="change", files_changed=("a.txt",))
    written(shop, "PRD.md")
    there = {("a" * 40, "PRD.md"): b"# PRD"} if has else {}
    read = world.context.depot
    read.read_file = lambda repo, commit, path, most: there.get((commit, path))  # type: ignore[method-assign]
    assert told(world, shop), "a fresh snapshot has it"
    assert bool(told(world, shop, workspace="login")) is has


DRAFT = "SCOPE: all\n--- docs/PRD.md\n# Shop\n\n## Problem\n\n--- rules\n--- end of docs/PRD.md\nPLAN: 1."


def drafting(world: World, shop: Path, answer: str | None, task: str = "") -> str:
    body = {"task": task or draft_task(), "agent": "planner", "runtime": "claude", "mode": "review"}
    begun = world.http.post("/v1/runs", {**body, "project": "shop", "by": "ana", "model": "anthropic/opus"})
    assert begun.status_code == 201, begun.text
    row: Run = world.context.row(Run, begun.json()["run"])
    assert "read only" in row.prompt
    world.node.carry_out(answer=answer or "")
    return row.id


def test_a_draft_is_the_text_between_its_lines_and_of_no_other_run(world: World, shop: Path) -> None:
    with_agents(world)
    add(world, path=str(shop), name="shop")
    asked = world.http.get("/v1/projects/shop/prd").json()
    assert (asked["path"], asked["prd"], asked["text"]) == (str(shop), "", None)
    assert asked["task"] == draft_task()
    run = drafting(world, shop, DRAFT)
    for name in (run, "last"):
        text = world.http.get(f"/v1/projects/shop/prd?run={name}").json()["text"]
        assert text == "# Shop\n\n## Problem\n\n--- rules\n"
    wrong = (
        drafting(world, shop, DRAFT, "look around"),
        drafting(world, shop, DRAFT.partition("--- end")[0]),
        drafting(world, shop, "--- docs/PRD.md\n \n--- end of docs/PRD.md"),
    )
    for name in wrong:
        refused = world.problem("GET", f"/v1/projects/shop/prd?run={name}")
        assert refused["code"] == "no_draft" and "pancode project prd shop" in refused["fix"]
    other = repository(shop.parent / "other")
    add(world, path=str(other), name="other")
    assert world.problem("GET", f"/v1/projects/other/prd?run={run}")["code"] == "no_draft"
    assert not (shop / "docs").exists(), "a draft writes nothing"
