"""The thread of `dispatch --land`: called off, broken, refused by the ledger, cut short by our own end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pancode.adapters.git.depot import Depot
from pancode.control.faces import LandWay
from pancode.control.followon import FollowOn
from pancode.control.query import run as query
from pancode.domain.records import ActionKind, Run
from pancode.errors import UnavailableError
from pancode.wiring.asked_landings import AskedLandings
from pancode.wiring.code import DepotCode
from tests.crowd import crowded
from tests.integration.faces.conftest import until
from tests.unit.pancode.control.test_land_asked import COMMIT, World

LANDED = {"status": "landed", "files": ("a.txt",), "tree": "/p", "branch": "main", "commit": COMMIT}


class Code(DepotCode):
    """Production's, but for git: it answers or raises what a test wants, and waits as a gate would."""

    def __init__(self, world: World, folder: Path, *answers: object) -> None:
        super().__init__(Depot(folder), world.coordinator.plane)
        self.answers, self.begun = list(answers), threading.Event()

    def land(self, run: Run, asked: LandWay, wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer != "waits":
            return LANDED
        with self._landings.of(run.id) as landing:
            self.begun.set()
            assert wanted() and landing.off.wait(30 * crowded())
            landing.ended = {"status": "called off"}
        return landing.ended


def _landing(world: World) -> dict[str, Any]:
    return dict(query.brief(world.coordinator.plane.core, "last")["landing"] or {})


@contextmanager
def _going(world: World, code: Code) -> Iterator[FollowOn]:
    core = world.coordinator.plane.core
    landings = FollowOn(core, {ActionKind.LAND: AskedLandings(core, code)}, again_s=0.05)
    landings.start()
    try:
        yield landings
    finally:
        landings.stop()


def test_one_that_breaks_does_not_wait_for_ever(tmp_path: Path) -> None:
    world = World()
    world.end()
    with _going(world, Code(world, tmp_path, ZeroDivisionError("by zero"))):
        until(lambda: _landing(world)["status"] == "failed", "it is written down")
    assert "by zero" in _landing(world)["why"] and "runs land" in _landing(world)["fix"]


def test_what_the_ledger_did_not_take_is_tried_again(tmp_path: Path) -> None:
    world = World()
    world.end()
    with _going(world, Code(world, tmp_path, UnavailableError("full"), UnavailableError("full"), "")):
        until(lambda: _landing(world)["status"] == "landed", "it is landed")


def test_one_that_waits_is_called_off_before_it_begins(tmp_path: Path) -> None:
    world = World()
    world.end()
    code, run = Code(world, tmp_path), world.coordinator.row(Run, "r-0001")
    assert code.call_off(run) == [{"status": "called off", "queued": True}]
    assert code.call_off(run) == [] and _landing(world)["status"] == "called off"
    with _going(world, code):
        until(lambda: not world.kept(), "its turn has come")
    assert _landing(world)["status"] == "called off"


def test_one_under_way_is_called_off_for_good_and_by_our_own_end_until_the_next_start(tmp_path: Path) -> None:
    world = World()
    world.end()
    code = Code(world, tmp_path, "waits")
    with _going(world, code):
        assert code.begun.wait(30 * crowded())
    assert world.kept() and _landing(world)["status"] == "waiting", "our own end"
    world.coordinator.restart()
    code = Code(world, tmp_path, "waits")
    with _going(world, code):
        assert code.begun.wait(30 * crowded())
        assert code.call_off(world.coordinator.row(Run, "r-0001")) == [{"status": "called off"}]
    assert not world.kept() and _landing(world)["status"] == "called off"
