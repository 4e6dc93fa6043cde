"""Issues with a project's label begin by themselves, once, and only for users who may start work."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pancode.issues import service as working
from pancode.issues.auto_start import MOST_AT_ONCE, IssueWatch, may_begin
from pancode.issues.hooks import IssueTracking
from pancode.issues.model import IssueState
from pancode.kernel.records import Run
from pancode.runs import reconcile as rounds
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run
from pancode.runs.facts import Lineage
from pancode.runs.project_rules import NamedProject
from pancode.runs.request import DispatchRequest
from pancode.runs.user_environment import Surroundings
from tests.fakes.ledger import KillAt, Killed
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.issues.memory import FIRST, MemoryTrackers, track_issues

SHOP = NamedProject("shop", "/shop", tracker="github:o/r", work_label="Agent", work_people=("ana",))
READY = replace(FIRST, labels=("feature", "agent"), assignees=("Ana",), author="mallory")


@pytest.mark.parametrize(
    ("changed", "begins"),
    [
        ({}, True),
        ({"labels": ("feature",)}, False),
        ({"assignees": ("mallory",), "author": "ana"}, False),
        ({"assignees": (), "author": "ana"}, True),
        ({"assignees": (), "author": "mallory", "title": "agent ana"}, False),
        ({"state": IssueState.PROGRESS}, False),
    ],
)
def test_label_and_users_decide_and_no_word_of_the_issue(changed: dict[str, object], begins: bool) -> None:
    assert may_begin(replace(READY, **changed), SHOP) is begins  # type: ignore[arg-type]
    assert not may_begin(replace(READY, **changed), replace(SHOP, work_people=()))  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return watched(tmp_path)


def watched(tmp_path: Path) -> World:
    """A project whose labelled issues begin by themselves, and one such issue."""
    world = World(tmp_path / "home")
    subprocess.run(["git", "init", "-q", str(tmp_path / "shop")], check=True)
    said = {"path": str(tmp_path / "shop"), "tracker": "github:o/r", "agent": "builder"}
    who = {"work_label": "agent", "work_people": ["ana"]}
    answer = world.http.post("/v1/projects", {"by": "ana", **said, **who})
    assert answer.status_code == 200 and answer.json()["work_people"] == ["ana"], answer.text
    track_issues(world.coordinator).trackers.there = {READY.ref: READY}
    return world


def trackers_of(world: World) -> MemoryTrackers:
    found: MemoryTrackers = world.coordinator.by_kind[IssueTracking].trackers
    return found


def watch(world: World) -> IssueWatch:
    coordinator = world.coordinator
    return IssueWatch(world.context.core, lambda: coordinator.around({}), trackers_of(world))


def runs(world: World) -> list[Run]:
    with world.context.ledger.transaction() as tx:
        return tx.find(Run)


def test_it_begins_once_also_over_a_restart_and_after_its_end(world: World) -> None:
    for _ in range(2):
        watch(world).look()
    (run,) = runs(world)
    assert (run.created_by, run.agent, Lineage.of(run).in_workspace) == ("the tracker", "builder", "shop-12")
    (work,) = world.http.get("/v1/work").json()["works"]
    assert (work["issue"], work["run"]) == ("SHOP-12", run.id)


def test_a_kill_behind_its_record_loses_no_issue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(working, "dispatch_run", killed)
        watch(world).look()
    watch(world).look()
    assert not runs(world), "it may still be on its way in the same coordinator"
    rounds.start_epoch(world.context.core)
    for _ in range(2):
        watch(world).look()
    (run,) = runs(world)
    (work,) = world.http.get("/v1/work").json()["works"]
    assert work["run"] == run.id


@pytest.mark.slow
def test_a_kill_at_each_write_of_its_beginning_leaves_one_run_and_one_workspace(tmp_path: Path) -> None:
    for cut in count(1):
        world, kill = watched(tmp_path / str(cut)), KillAt(cut)
        world.context.ledger.before_commit = kill
        with suppress(Killed):
            watch(world).look()
        world.context.ledger.before_commit = None
        rounds.start_epoch(world.context.core)
        for _ in range(2):
            watch(world).look()
        (run,) = runs(world)
        (work,) = world.http.get("/v1/work").json()["works"]
        assert (work["run"], Lineage.of(run).in_workspace) == (run.id, "shop-12"), f"killed at commit {cut}"
        (space,) = world.http.get("/v1/workspaces").json()["workspaces"]
        assert (space["workspace"], space["count"]) == ("shop-12", 1)
        if kill.count < cut:  # it had ended before
            break
    assert cut > 5, "reads are transactions, too"


def test_a_fault_at_one_issue_holds_up_no_other_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trackers_of(world).there = {"SHOP-7": replace(READY, ref="SHOP-7", id="7"), READY.ref: READY}
    real = dispatch_run

    def fails(core: Core, around: Surroundings, request: DispatchRequest, *more: Any) -> Dispatched:
        if "SHOP-7" in request.task:
            raise RuntimeError("a fault of ours")
        return real(core, around, request, *more)

    with monkeypatch.context() as patched:
        patched.setattr(working, "dispatch_run", fails)
        watch(world).look()
    assert [Lineage.of(run).in_workspace for run in runs(world)] == ["shop-12"]
    watch(world).look()
    assert sorted(Lineage.of(run).in_workspace for run in runs(world)) == ["shop-12", "shop-7"]


def test_work_that_a_user_was_faster_to_begin_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user begins it while the watch begins another one, or while its own snapshot is taken."""
    every = {f"SHOP-{n}": replace(READY, ref=f"SHOP-{n}", id=str(n)) for n in (7, 8)}
    trackers_of(world).there = every
    real, left = dispatch_run, ["SHOP-8", "SHOP-7"]

    def slow(*asked: Any) -> Dispatched:
        while left:
            answer = world.http.post("/v1/work", {"by": "ana", "issue": left.pop()})
            assert answer.status_code == 200, answer.text
        return real(*asked)

    monkeypatch.setattr(working, "dispatch_run", slow)
    watch(world).look()
    assert {run.created_by for run in runs(world)} == {"ana"}
    works = world.http.get("/v1/work").json()["works"]
    assert sorted(one["issue"] for one in works) == ["SHOP-7", "SHOP-8"]
    assert all(one["run"] for one in works)


def test_who_may_start_work_in_linear_is_named_by_address(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    said = {"by": "ana", "name": "shop", "tracker": "linear:SHOP"}
    problem = world.problem("POST", "/v1/projects", said)
    assert "ana" in problem["message"] and "@" in problem["fix"], "its users are kept from before"
    answer = world.http.post("/v1/projects", {**said, "work_people": ["ana@example.org"]})
    assert answer.status_code == 200, answer.text
    old = NamedProject("shop", "/shop", tracker="linear:SHOP", work_label="agent", work_people=("ana",))
    watch(world)._check_project(world.coordinator.around({}), old)
    assert "--work-person" in caplog.text and not runs(world)


def test_many_begin_a_few_at_a_time(world: World) -> None:
    every = {f"SHOP-{n}": replace(READY, ref=f"SHOP-{n}", id=str(n)) for n in range(20, 28)}
    trackers_of(world).there = every
    watch(world).look()
    assert len(runs(world)) == MOST_AT_ONCE


def test_what_is_refused_is_tried_again_at_the_next_look(world: World) -> None:
    world.http.post("/v1/budget/ceiling", {"by": "ana", "usd": "0"})
    one = watch(world)
    one.look()
    assert not runs(world) and world.http.get("/v1/work").json()["works"] == []
    world.http.post("/v1/budget/ceiling", {"by": "ana", "usd": "10"})
    one.look()
    assert len(runs(world)) == 1
