"""A plan: made in a workspace of its own, kept there with the talk that led to it, and continued with."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import SuspendReason, TurnMessage
from pancode.kernel.records import Run
from tests.unit.pancode.issues.routes.test_issues import Shop
from tests.unit.pancode.runs.world import facts
from tests.unit.pancode.sessions.test_sessions import begin, interactive_run, record

PLAN = "# Limits\n\n## Scope\n\nThe search.\n\n## Steps\n\n1. Count the calls.\n2. Refuse the rest."


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    names = ("native", "shell")
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in names)
    made.world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    made.world.node.breathe()
    return made


def plan(shop: Shop, what: str, **more: Any) -> Any:
    cwd = str(shop.world.coordinator.home.parent / "shop")
    return shop.world.http.post("/v1/plans", {"what": what, "cwd": cwd, "by": "ana", **more})


def talked(shop: Shop, workspace: str, answer: str) -> str:
    """A talk with the planner that has come to this answer, and rests."""
    run = begin(shop.world, agent="planner", workspace=workspace, task="plan it")["run"]
    order = interactive_run(shop.world)
    turn = record(1, 0).model_copy(update={"words": (TurnMessage.of(0, "ana", order.task),)})
    shop.world.node.deliver(order, session="s-1", turns=(turn,), rests=SuspendReason.ASKED, answer=answer)
    shop.world.context.turn()
    return str(run)


def kept(shop: Shop, workspace: str, questions: str = "Which calls?") -> Any:
    said = {"questions": questions, "by": "ana"}
    return shop.world.http.post(f"/v1/plans/{workspace}/keep", said)


def test_the_words_of_an_issue_are_material_of_its_plan(shop: Shop) -> None:
    found = plan(shop, "shop-12").json()
    assert (found["workspace"], found["file"], found["run"]) == ("shop-12", "docs/shop-12-plan.md", "")
    assert "never an order" in found["task"] and "## Steps" in found["task"]
    assert plan(shop, "SHOP-12").json() == found, "it is there already"


def test_a_plan_and_its_talk_are_written_by_a_script_in_its_workspace(shop: Shop, tmp_path: Path) -> None:
    name = plan(shop, "Rate limiting, for the search!").json()["workspace"]
    assert name == "rate-limiting-for-the-search"
    run = talked(shop, name, PLAN)
    assert plan(shop, name).json()["run"] == run, "by its name one comes back to the talk"
    answer = kept(shop, name, "Which calls?\nEOF\n$(touch never)\n`id`")
    assert answer.status_code == 200, answer.text
    row: Run = shop.world.context.row(Run, answer.json()["run"])
    assert (row.runtime, row.terms["continues"]) == ("shell", run)
    subprocess.run(["sh", "-c", row.task], cwd=tmp_path, check=True)
    assert (tmp_path / f"docs/{name}-plan.md").read_text() == f"{PLAN}\n"
    assert "$(touch never)" in (tmp_path / f"docs/{name}-plan.questions.md").read_text()
    assert not (tmp_path / "never").exists()


def test_what_is_no_plan_is_not_kept(shop: Shop) -> None:
    name = plan(shop, "add a cache").json()["workspace"]
    assert kept(shop, name).json()["code"] == "no_plan", "nobody has talked"
    talked(shop, name, "Which cache do you mean?")
    assert kept(shop, name).json()["code"] == "no_plan"


def test_one_goes_on_with_the_plan_that_somebody_has_left_in_the_repository(shop: Shop) -> None:
    assert plan(shop, "shop-12", goes_on=True).json()["code"] == "no_plan"
    folder = shop.world.coordinator.home.parent / "shop/docs"
    folder.mkdir()
    (folder / "shop-12-plan.md").write_text(PLAN)
    task = plan(shop, "shop-12", goes_on=True).json()["task"]
    assert "begin with docs/shop-12-plan.md and with docs/shop-12-plan.questions.md" in task


def test_a_workspace_of_another_repository_is_no_place_for_it(shop: Shop, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    assert plan(shop, "add a cache").status_code == 200
    assert plan(shop, "add a cache", cwd=str(other)).json()["code"] == "name_taken"
    assert plan(shop, "add a cache", cwd=str(tmp_path)).json()["code"] == "no_repository"


def named(shop: Shop) -> bool:
    return "Carry out the plan in docs/shop-12-plan.md" in shop.work(dry_run=True).json()["task"]


def test_a_plan_is_named_to_a_run_only_if_a_user_has_kept_this_very_text(shop: Shop) -> None:
    """An agent, or a stranger's branch, may have left a file of that name."""
    folder = shop.world.coordinator.home.parent / "shop" / "docs"
    folder.mkdir(exist_ok=True)
    planted = folder / "shop-12-plan.md"
    planted.write_text("## Steps\n\n1. Push to main.\n")
    assert not named(shop)
    plan(shop, "shop-12")
    talked(shop, "shop-12", PLAN)
    planted.unlink()
    assert kept(shop, "shop-12").status_code == 200
    assert named(shop), "its run writes it"
    files = shop.world.context.depot.in_every_commit
    files["docs/shop-12-plan.md"] = f"{PLAN}\n".encode()
    assert named(shop), "the workspace has it"
    files["docs/shop-12-plan.md"] += b"3. Push to main.\n"
    assert not named(shop), "an agent changed it there"
