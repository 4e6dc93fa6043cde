"""`land --resolve`: a run whose task is the conflict; when it has landed, the first one has, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.git.depot import Depot
from pancode.git.landings import Conflict, ConflictState
from pancode.kernel.errors import UsageError, WorkspaceError
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.landing import queue
from pancode.landing.git.change_store import DepotRepositories
from pancode.landing.service import Lander, resolve_conflict
from pancode.runs.life.continuations import continue_request
from pancode.runs.request import LandWay
from pancode.runs.retry import dispatch_again, request_of
from pancode.runs.run_continuation import continue_run
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.landing.test_asked import COMMIT, GIT, fails_at
from tests.unit.pancode.landing.test_asked import Lander as ToldLander
from tests.unit.pancode.people.routes.test_inbox import keep
from tests.unit.pancode.runs.world import facts, no_prd

MARKED, OURS = "d" * 40, "e" * 40


class Conflicting(Lander):
    """Its merges are told by a test."""

    def __init__(self, world: World, folder: Path, *files: str) -> None:
        super().__init__(world.context.core, DepotRepositories(Depot(folder)), no_prd)
        self.files = files

    def conflict(self, run: Run, branch: str) -> ConflictState:
        return ConflictState(MARKED, OURS, None, self.files)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def old(world: World, tmp_path: Path) -> Run:
    """Done by a model, in a repository."""
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    claude = (RuntimeFact(name="claude", state="ok"),)
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=claude)
    world.node.breathe()
    run = str(world.dispatch(runtime="claude", task="rename it\n`rm -rf`")["run"])
    job = world.claim()
    world.context.depot.commits.add(COMMIT)
    keep(world, replace(world.context.row(Run, run), workspace=GIT, project=str(project)))
    world.node.carry_out(job, commit=COMMIT, change="change", files_changed=("a.txt",))
    found: Run = world.context.row(Run, run)
    return found


def _resolve(world: World, old: Run, folder: Path, *files: str, **way: Any) -> Run:
    around = world.coordinator.around({})
    lander = Conflicting(world, folder, *files)
    return resolve_conflict(world.context.core, lander, around, old, LandWay("ana", **way)).run


def test_its_run_begins_at_both_and_lands_for_both(
    world: World, old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = _resolve(world, old, tmp_path, "a.txt", "b c.txt", branch="agent/x")
    assert new.task.startswith("Settle a merge conflict") and "- b c.txt" in new.task and old.task in new.task
    assert (new.workspace["snapshot"], new.workspace["base"], new.land) == (MARKED, None, True)
    assert (new.terms["origin"], new.terms["begins"], "continues" in new.terms) == (OURS, old.id, False)
    world.context.turn()
    world.node.carry_out(commit=COMMIT, change="change", files_changed=("a.txt",))
    core, ways = world.context.core, list[LandWay]()
    (action,) = queue.list_waiting(core)

    def land(run: Run, way: LandWay, wanted: Callable[[], bool]) -> dict[str, Any]:
        ways.append(way)
        return ToldLander()(run, way, wanted)

    fails_at(monkeypatch, 3)  # one notes what is written, and one records it for both
    queue.carry_out(core, action, land, lambda: False)
    (way,) = ways
    assert (way.by, way.branch, way.message) == ("ana", "agent/x", "rename it")
    for run in (new.id, old.id):
        row = world.context.row(Run, run)
        assert row.landed == COMMIT and row.landing["status"] == "landed"


def test_no_yes_counts_for_what_an_agent_has_yet_to_write(world: World, old: Run, tmp_path: Path) -> None:
    """Not for the run that settles the conflict, and not for one that continues from it, whoever says so."""
    yes: dict[str, Any] = {"with_commands": True, "with_secret": True, "anyway": True, "gates": False}
    new = _resolve(world, old, tmp_path, "a.txt", branch="agent/x", **yes)
    world.context.turn()
    world.node.carry_out(commit=COMMIT, change="change", files_changed=("Makefile",))
    core, around = world.context.core, world.coordinator.around({})
    (action,) = queue.list_waiting(core)
    ended: Run = world.context.row(Run, new.id)
    next_one = continue_run(core, around, ended, "edit .github too", "ben").run
    for run in (ended, next_one):
        way = queue.way_of(run, action)
        assert (way.by, way.branch, way.says_yes) == ("ana", "agent/x", False)


def test_where_nothing_conflicts_nothing_is_dispatched(world: World, old: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no conflict") as refused:
        _resolve(world, old, tmp_path)
    assert refused.value.fix == f"pancode land {old.id}"
    assert len(world.context.rows(Run)) == 1


class Unsettled(DepotRepositories):
    """Says which files are left as a test says."""

    def __init__(self, folder: Path, *left: str) -> None:
        super().__init__(Depot(folder))
        self.left = left

    def unsettled(self, repo: str, marked: str, result: str, files: Iterable[str]) -> tuple[Conflict, ...]:
        assert (repo, marked, tuple(files)) == ("repo-1", MARKED, ("a.txt",))
        return tuple(Conflict(name, "still contains conflict markers") for name in self.left)


@pytest.mark.parametrize(
    ("commit", "left", "why"),
    [(COMMIT, ("a.txt",), "a.txt still contains conflict markers"), (None, (), "it changed nothing")],
)
def test_what_has_not_settled_the_conflict_is_never_landed(
    world: World, old: Run, tmp_path: Path, commit: str | None, left: tuple[str, ...], why: str
) -> None:
    new = _resolve(world, old, tmp_path, "a.txt")
    world.context.turn()
    job = world.claim()
    world.node.start(job)
    files = ("a.txt",) if commit else ()
    world.node.deliver(job, commit=commit, change="change" if commit else "no_change", files_changed=files)
    world.context.turn()
    core = world.context.core
    lander = Lander(core, Unsettled(tmp_path, *left), no_prd)
    (action,) = queue.list_waiting(core)
    queue.carry_out(core, action, lander.land, lambda: False)
    told = world.context.row(Run, new.id)
    assert told.landed is None and told.landing["status"] == "not settled"
    assert why in str(told.landing["why"]) and f"pancode land {old.id} --resolve" in str(told.landing["fix"])
    with pytest.raises(WorkspaceError, check=lambda error: error.code == "not_settled"):
        lander.land(told, LandWay("ana", gates=False), queue.LandingWish(core, action))


def test_a_settling_that_is_continued_keeps_its_purpose_and_is_not_retried(
    world: World, old: Run, tmp_path: Path
) -> None:
    new = _resolve(world, old, tmp_path, "a.txt", branch="agent/x")
    world.context.turn()
    world.node.carry_out(commit=COMMIT, change="change", files_changed=("a.txt",))
    ended: Run = world.context.row(Run, new.id)
    core, around = world.context.core, world.coordinator.around({})
    with pytest.raises(UsageError, match="cannot be retried") as refused:
        dispatch_again(core, around, ended, "ana")
    assert f"pancode land {old.id} --resolve --branch agent/x" in refused.value.fix
    next_one = continue_run(core, around, ended, "settle it", "ana").run
    assert next_one.terms["resolves"] == ended.terms["resolves"] and next_one.terms["origin"] == OURS
    assert next_one.workspace["snapshot"] == COMMIT
    keep(world, replace(ended, landed=COMMIT))
    landed: Run = world.context.row(Run, new.id)
    asked_for = continue_request(landed, request_of(landed, "ana"), "more", False)
    assert not asked_for.resolves, "what has landed is not counted again"
