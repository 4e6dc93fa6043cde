"""What the API refuses to queue, and what a run that starts a run may hand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.model import FleetTime
from node_agent.wire.node import Allowed
from pancode.kernel.records import BookEntry, Run
from pancode.runs.life.jobs import job_for, rules_of
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts

TIMES = (1, FleetTime(epoch=1, ms=1))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_ceiling_refuses_with_the_numbers(world: World) -> None:
    told = world.problem("POST", "/v1/runs", world.shell(budget="10.01"))
    assert told["exit_code"] == 5 and "ceiling: $10.00" in told["message"]
    world.context.check_books()


def test_a_job_that_is_too_large_holds_nothing(world: World) -> None:
    told = world.problem("POST", "/v1/runs", world.shell(task="# " + 900_000 * "\x01"))
    assert (told["exit_code"], told["code"]) == (5, "refused_task") and "files" in told["fix"]
    assert world.context.rows(Run) == [] and world.context.rows(BookEntry) == []


def test_a_run_cannot_raise_what_its_parent_has(world: World) -> None:
    parent = world.dispatch(mode="review", agent="reviewer", told_only=True)["run"]
    told = world.problem("POST", "/v1/runs", world.shell(parent=parent, depth=1))
    assert told["exit_code"] == 5 and parent in told["message"]


@pytest.mark.parametrize("said", [{}, {"depth": 0}, {"depth": 1}])
def test_how_deep_a_run_is_is_on_record_whatever_it_says(world: World, said: dict[str, int]) -> None:
    """The limit is 2: a user's run may start one, which may start no other."""
    parent = world.dispatch()["run"]
    child = world.dispatch(parent=parent, **said)["run"]
    assert world.context.row(Run, child).depth == 1
    told = world.problem("POST", "/v1/runs", world.shell(parent=child, **said))
    assert (told["exit_code"], told["code"]) == (5, "refused_recursion")
    assert "level 3" in told["message"] and child in told["fix"] and "MAX_DEPTH" not in told["fix"]


def test_a_run_that_says_to_be_deeper_is_believed(world: World) -> None:
    parent = world.dispatch()["run"]
    told = world.problem("POST", "/v1/runs", world.shell(parent=parent, depth=2))
    assert told["code"] == "refused_recursion"


def test_a_parent_that_is_not_on_record_is_not_found(world: World) -> None:
    assert world.problem("POST", "/v1/runs", world.shell(parent="r-2345"))["exit_code"] == 4


def test_what_no_owner_allows_is_refused_and_holds_nothing(world: World) -> None:
    world.node.facts = facts(allows=Allowed(runtimes=("claude",)))
    world.node.breathe()
    told = world.problem("POST", "/v1/runs", world.shell())
    assert (told["exit_code"], told["code"]) == (5, "refused_routing")
    assert "ceiling.json" in told["fix"]
    assert world.context.rows(Run) == [] and world.context.rows(BookEntry) == []


def test_a_repository_that_no_owner_allows_is_refused_when_it_has_a_name(
    world: World, tmp_path: Path
) -> None:
    """Its name in orders is known after the snapshot: the gates are asked again then."""
    project = tmp_path / "repo"
    (project / ".git").mkdir(parents=True)
    asked = {"task": "true", "runtime": "shell", "cwd": str(project)}
    world.node.facts = facts(allows=Allowed(repositories=("other-1",)))
    world.node.breathe()
    told = world.problem("POST", "/v1/runs", asked)
    assert told["code"] == "refused_routing" and "repository" in told["message"]
    assert world.context.rows(Run) == []
    world.node.facts = facts(allows=Allowed(repositories=("other-1", "demo-1234")))
    world.node.breathe()
    assert world.http.post("/v1/runs", asked).json()["state"] == "pending"


def test_the_rules_of_users_travel_with_the_job_and_to_its_children(world: World) -> None:
    """A run could edit the rules that lie in its checkout; those that it is under hold its children too."""
    (world.coordinator.home / "pansafety.yaml").write_text("zeroAccessPaths: [.env]\n")
    parent = world.dispatch()["run"]
    (world.coordinator.home / "pansafety.yaml").write_text("readOnlyPaths: [VERSION]\n")
    child = world.dispatch(parent=parent)["run"]
    told = [rule.pattern for rule in rules_of(world.context.row(Run, child).rules).paths]
    assert told == ["./pansafety.yaml", "./safety-rules.yaml", "VERSION", ".env"]
    (order_paths,) = [job_for(world.context.row(Run, child), "f-home", 10 * "a", 1, TIMES).policy.paths]
    assert [rule.pattern for rule in order_paths] == told
    assert world.context.row(Run, parent).rules != world.context.row(Run, child).rules


def test_a_rule_that_does_not_fit_refuses_the_dispatch(world: World) -> None:
    (world.coordinator.home / "pansafety.yaml").write_text("zeroAccessPath: [.env]\n")
    told = world.problem("POST", "/v1/runs", world.shell())
    assert told["exit_code"] == 3 and "zeroAccessPaths?" in told["fix"]
    assert "pansafety.yaml:1" in told["message"] and world.context.rows(Run) == []
