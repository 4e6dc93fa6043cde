"""The queue of landings: called off, broken, refused by the ledger, cut short by our own end, one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pancode.git.depot import Depot
from pancode.kernel.errors import UnavailableError, WorkspaceError
from pancode.kernel.records import Run
from pancode.landing.git.change_store import DepotRepositories
from pancode.landing.queue import LandingQueue, landing_rows, report_of
from pancode.landing.service import Lander
from pancode.runs import views as query
from pancode.runs.request import LandWay
from tests.crowd import crowded
from tests.integration.faces.conftest import until
from tests.unit.pancode.landing.test_asked import COMMIT, GIT, LandingWorld
from tests.unit.pancode.runs.world import no_prd

LANDED = {"status": "landed", "files": ("a.txt",), "tree": "/p", "branch": "main", "commit": COMMIT}


class Waiting(Lander):
    """Production's, but for git: it answers or raises what a test wants, and waits as a gate would."""

    def __init__(self, world: LandingWorld, folder: Path, *answers: object) -> None:
        super().__init__(world.coordinator.core, DepotRepositories(Depot(folder)), no_prd)
        self.answers, self.begun = list(answers), threading.Event()
        self.at_once, self.most, self.job = 0, 0, list[str]()

    def land(self, run: Run, way: LandWay, wanted: Callable[[], bool]) -> dict[str, Any]:
        self.job.append(run.id)
        answer = self.answers.pop(0) if self.answers else "landed"
        if isinstance(answer, Exception):
            raise answer
        if answer != "waits":
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            threading.Event().wait(0.02)
            self.at_once -= 1
            return LANDED
        with self._landings.of(run.id) as landing:
            self.begun.set()
            assert wanted() and landing.off.wait(30 * crowded())
            landing.ended = {"status": "called off"}
        return landing.ended


def _landing(world: LandingWorld) -> dict[str, Any]:
    return dict(query.get_run_shape(world.coordinator.core, "last")["landing"] or {})


@contextmanager
def _going(world: LandingWorld, lander: Lander) -> Iterator[LandingQueue]:
    queue = LandingQueue(world.coordinator.core, lander.land, lander.cut_short, str, again_s=0.05)
    queue.start()
    try:
        yield queue
    finally:
        queue.stop()


def test_one_that_breaks_does_not_wait_for_ever(tmp_path: Path) -> None:
    world = LandingWorld()
    world.end()
    with _going(world, Waiting(world, tmp_path, ZeroDivisionError("by zero"))):
        until(lambda: _landing(world)["status"] == "failed", "it is written down")
    assert "by zero" in _landing(world)["why"] and "pancode land" in _landing(world)["fix"]


def test_what_the_ledger_did_not_take_is_tried_again(tmp_path: Path) -> None:
    world = LandingWorld()
    world.end()
    with _going(world, Waiting(world, tmp_path, UnavailableError("full"), UnavailableError("full"), "")):
        until(lambda: _landing(world)["status"] == "landed", "it is landed")


def test_one_that_waits_is_called_off_before_it_begins(tmp_path: Path) -> None:
    world = LandingWorld()
    world.end()
    lander, run = Waiting(world, tmp_path), world.coordinator.row(Run, "r-0001")
    assert lander.call_off(run) == [{"status": "called off", "queued": True}]
    assert lander.call_off(run) == [] and _landing(world)["status"] == "called off"
    with _going(world, lander):
        until(lambda: not world.kept(), "its turn has come")
    assert _landing(world)["status"] == "called off"


def test_one_under_way_is_called_off_for_good_and_by_our_own_end_until_the_next_start(tmp_path: Path) -> None:
    world = LandingWorld()
    world.end()
    lander = Waiting(world, tmp_path, "waits")
    with _going(world, lander):
        assert lander.begun.wait(30 * crowded())
    assert world.kept() and _landing(world)["status"] == "waiting", "our own end"
    world.coordinator.restart()
    lander = Waiting(world, tmp_path, "waits")
    with _going(world, lander):
        assert lander.begun.wait(30 * crowded())
        assert lander.call_off(world.coordinator.row(Run, "r-0001")) == [{"status": "called off"}]
        until(lambda: not world.kept(), "it is written down")
    assert _landing(world)["status"] == "called off"


def _more(world: LandingWorld, count: int, repo: str) -> list[Run]:
    """More ended runs, of that repository."""
    made = []
    for _ in range(count):
        number = len(world.coordinator.rows(Run)) + 1
        world.coordinator.dispatch(f"r-{number:04}", project="/p", workspace={**GIT, "repo": repo})
        world.coordinator.turn()
        job = world.node.claim()
        assert job is not None
        world.job = job
        world.end()
        made.append(world.coordinator.row(Run, job.identity.run))
    return made


def test_landings_of_one_repository_go_one_after_another_and_others_do_not_wait_for_them(
    tmp_path: Path,
) -> None:
    world = LandingWorld(land=False)
    world.end()
    runs, (other,) = _more(world, 3, "repo-1"), _more(world, 1, "repo-2")
    lander, core = Waiting(world, tmp_path, "waits"), world.coordinator.core
    with _going(world, lander) as queue:
        asked = [queue.ask(run, LandWay("ana")) for run in runs[:1]]
        assert lander.begun.wait(30 * crowded())
        for run in runs[1:]:
            world.coordinator.clock.advance(1)
            asked.append(queue.ask(run, LandWay("ana")))
        rows = landing_rows(core, queue.under_way())
        assert [(row["run"], row["place"], row["under_way"]) for row in rows] == [
            (run.id, place, place == 0) for place, run in enumerate(runs)
        ]
        assert queue.place(asked[2]) == 2
        there = queue.ask(other, LandWay("ana"))
        assert queue.place(there) == 0 and queue.ended(there)["status"] == "landed", "another repository"
        assert len(queue.under_way()) == 1
        lander.call_off(runs[0])
        assert [queue.ended(one)["status"] for one in asked] == ["called off", "landed", "landed"]
    assert lander.job == [runs[0].id, other.id, runs[1].id, runs[2].id] and lander.most == 1


def test_a_refusal_is_an_error_with_its_fix(tmp_path: Path) -> None:
    world = LandingWorld(land=False)
    world.end()
    error = WorkspaceError("r-0001 was not landed: conflict", why="a.txt: both", fix="look", code="conflict")
    with _going(world, Waiting(world, tmp_path, error)) as queue:
        ended = queue.ended(queue.ask(world.coordinator.row(Run, "r-0001"), LandWay("ana")))
    with pytest.raises(WorkspaceError) as refused:
        report_of(ended)
    told = refused.value
    assert (str(told), told.why, told.code) == (str(error), error.why, error.code)
