"""`dispatch --land`: landed by the coordinator when the run is done, once, also over its own restarts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.errors import UnavailableError, UsageError, WorkspaceError
from pancode.kernel.records import Action, Audit, EndedRun, Run
from pancode.kernel.states import How
from pancode.kernel.values import replace
from pancode.landing import queue as asked
from pancode.landing.queue import LandingQueue, drop_change
from pancode.landing.rules import LANDED_MS, Reverted
from pancode.people.service import deny_run
from pancode.runs import views as query
from pancode.runs.core import Core
from pancode.runs.receipts.trust import REVERTED, is_open
from pancode.runs.request import LandWay
from pancode.runs.stop import stop_run
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.runs.test_lost_told import silence
from tests.unit.pancode.runs.world import Desk, Puppet, failed

COMMIT = "c" * 40
GIT = {"kind": "git", "repo": "repo-1", "base": None, "snapshot": "a" * 40, "object_format": "sha1"}


class Lander:
    """Lands as it is told to, and counts."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.landed: list[str] = []

    def __call__(
        self, run: Run, way: LandWay | None = None, wanted: Callable[[], bool] = lambda: True
    ) -> dict[str, Any]:
        assert wanted()
        self.landed.append(run.id)
        answer = self.answers.pop(0) if self.answers else "landed"
        if isinstance(answer, Exception):
            raise answer
        told = {"status": answer, "files": ("a.txt",), "tree": "/p", "branch": "main", "commit": COMMIT}
        if answer == "landed" and isinstance(wanted, asked.LandingWish):
            wanted.writes({**told, "gate": {"detail": "passed on n1"}, "made": False})
        return told


class LandingWorld:
    """A run with `--land`, offered to a node."""

    def __init__(self, **run: Any) -> None:
        self.coordinator = Desk()
        self.node = Puppet(self.coordinator)
        self.node.breathe()
        self.coordinator.dispatch(project="/p", workspace=GIT, **{"land": True, **run})
        self.coordinator.turn()
        self.job = self.node.take()

    def end(self, **changes: Any) -> None:
        self.coordinator.depot.commits.add(COMMIT)
        done = {"commit": COMMIT, "change": "change", "files_changed": ("a.txt",)}
        self.node.carry_out(self.job, **{**done, **changes})

    def waiting(self) -> list[Action]:
        return asked.list_waiting(self.coordinator.core)

    def land(self, lander: asked.Land, stopping: bool = False) -> dict[str, Any]:
        for action in self.waiting():
            asked.carry_out(self.coordinator.core, action, lander, lambda: stopping)
        return dict(query.get_run_shape(self.coordinator.core, "last")["landing"] or {})

    def kept(self) -> bool:
        return bool(self.waiting())


def test_it_is_landed_when_the_run_is_done_and_once() -> None:
    world, lander = LandingWorld(), Lander()
    assert world.land(lander) == {"status": "waiting", "why": "the run has not ended"}
    world.end()
    assert query.get_run_shape(world.coordinator.core, "last")["notes"] == ["no gates", "landing"]
    (action,) = world.waiting()
    told = world.land(lander)
    assert (told["status"], told["tree"], told["files"]) == ("landed", "/p", ["a.txt"])
    asked.carry_out(world.coordinator.core, action, lander, lambda: False)
    assert lander.landed == ["r-0001"] and not world.kept()


def test_the_next_coordinator_lands_what_this_one_has_not() -> None:
    world, lander = LandingWorld(), Lander()
    world.end()
    world.coordinator.restart()
    assert world.land(lander)["status"] == "landed" and lander.landed == ["r-0001"]
    world.coordinator.restart()
    assert world.waiting() == []


def test_what_our_own_end_cuts_short_stays_asked_for() -> None:
    world = LandingWorld()
    world.end()
    (run,) = world.waiting()
    over: list[bool] = []

    def cut(meant: Run, way: LandWay, wanted: object) -> dict[str, Any]:
        over.append(True)
        return {"status": "called off"}

    asked.carry_out(world.coordinator.core, run, cut, lambda: bool(over))
    assert world.kept()
    world.coordinator.restart()
    assert world.land(Lander("called off"))["status"] == "called off", "a user has called it off"
    assert not world.kept()


def _landing(world: LandingWorld) -> dict[str, Any]:
    return dict(query.get_run_shape(world.coordinator.core, "last")["landing"] or {})


def test_a_stop_that_comes_too_late_for_the_work_comes_in_time_for_the_landing() -> None:
    world, lander = LandingWorld(), Lander()
    stop_run(world.coordinator.core, "r-0001", "wrong branch")
    world.end()
    told = world.land(lander)
    assert (told["status"], told["why"]) == ("called off", "wrong branch")
    assert lander.landed == [] and not world.kept() and "pancode land r-0001" in told["fix"]
    assert world.coordinator.row(Run, "r-0001").outcome is Outcome.DONE


def test_a_stop_of_a_run_that_is_done_calls_off_the_landing_that_waits() -> None:
    world, lander = LandingWorld(), Lander()
    world.end()
    stopped = stop_run(world.coordinator.core, "r-0001", "wrong branch")
    assert stopped.landing["status"] == "called off" and not world.kept()
    told = world.land(lander)
    assert (told["status"], told["why"], lander.landed) == ("called off", "wrong branch", [])
    world.coordinator.restart()
    assert world.waiting() == []
    assert stop_run(world.coordinator.core, "r-0001", "again").landing == stopped.landing


def test_a_stop_of_a_lost_run_counts_when_its_late_word_is_done() -> None:
    world, lander = LandingWorld(), Lander()
    world.node.start(world.job)
    world.node.open = [world.job.identity]
    world.node.breathe()
    silence(world.coordinator)
    assert world.coordinator.row(Run, "r-0001").outcome is Outcome.LOST
    stop_run(world.coordinator.core, "r-0001", "given up")
    world.node.breathe()
    world.end()
    assert world.coordinator.row(Run, "r-0001").outcome is Outcome.DONE
    assert world.land(lander)["status"] == "called off" and lander.landed == []


def test_a_stop_while_it_is_landed_changes_nothing_that_is_true_afterwards() -> None:
    """Called off under way: what is written down in the end is what became of it, and once."""
    for answer in ("landed", "called off"):
        world = LandingWorld()
        world.end()
        (run,) = world.waiting()

        def stopped(
            meant: Run, way: LandWay, wanted: object, world: LandingWorld = world, answer: str = answer
        ) -> dict[str, Any]:
            stop_run(world.coordinator.core, meant.id, "now")
            return Lander(answer)(meant)

        asked.carry_out(world.coordinator.core, run, stopped, lambda: False)
        assert _landing(world)["status"] == answer and not world.kept()
        off = [a for a in world.coordinator.rows(Audit) if "called off" in a.what]
        assert len(off) == 1


def test_what_was_taken_back_and_landed_again_is_not_reverted_any_more() -> None:
    world = LandingWorld()
    world.end()
    core, coordinator = world.coordinator.core, world.coordinator
    assert world.land(Lander())["status"] == "landed"
    first = coordinator.row(Run, "r-0001").result[LANDED_MS]
    row = coordinator.row(Run, "r-0001")
    with unit_of_work(core) as work:
        work.signal(row, Reverted("d" * 40))
    assert coordinator.row(EndedRun, "r-0001").reverted
    coordinator.turn(10_000)
    asked.queue_landing(core, "r-0001", LandWay("ana"))
    world.land(Lander())
    again = coordinator.row(Run, "r-0001")
    assert REVERTED not in again.result and not coordinator.row(EndedRun, "r-0001").reverted
    assert again.result[LANDED_MS] > first, "reverts are looked for since then"


def test_a_drop_or_a_no_while_it_is_landed_stays_said() -> None:
    """The landing ends as called off, for it was: that is not what became of the change."""
    for said in ("dropped", "denied"):
        world = LandingWorld()
        world.end()
        details = {"yes": "--with-commands"}
        world.land(Lander(WorkspaceError("held", why="Makefile", code="held", details=details)))
        core = world.coordinator.core
        action = asked.queue_landing(core, "r-0001", LandWay("ana", with_commands=True, approves=True))

        def cut(meant: Run, way: LandWay, wanted: object, core: Core = core, said: str = said) -> Any:
            asked.call_off(core, meant.id, "called off before it was landed")
            verb = drop_change if said == "dropped" else deny_run
            verb(core, meant.id, "bob")
            return Lander("called off")(meant)

        asked.carry_out(core, action, cut, lambda: False)
        assert _landing(world)["status"] == said and not world.kept()
        assert not is_open(world.coordinator.row(Run, "r-0001"), "/p")


def test_what_cannot_be_written_down_stays_asked_for() -> None:
    """The tree may have it: that nothing was landed is not to be said."""
    world, full = LandingWorld(), UnavailableError("the disk of the ledger is full")
    world.end()
    with pytest.raises(UnavailableError):
        world.land(Lander(full))
    assert world.kept() and _landing(world)["status"] == "waiting"
    world.coordinator.restart()
    assert world.land(Lander("nothing to land"))["why"] == "your tree already has the change"


def fails_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The ledger refuses the queue's transaction of this number, and no other."""
    begun = list[Core]()

    def refusing(core: Core) -> Any:
        begun.append(core)
        if len(begun) == number:
            raise UnavailableError("the ledger is unavailable")
        return unit_of_work(core)

    monkeypatch.setattr(asked, "unit_of_work", refusing)


@pytest.mark.parametrize("again", [False, True])
def test_a_landing_whose_record_failed_is_recorded_by_the_next_try(
    monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """The files are written by then, so that the next try finds no change any more."""
    world, way = LandingWorld(land=False), LandWay("ana", with_commands=True)
    world.end()
    asked.queue_landing(world.coordinator.core, "r-0001", way)
    fails_at(monkeypatch, 2)
    with pytest.raises(UnavailableError):
        world.land(Lander())
    assert world.kept() and world.coordinator.row(Run, "r-0001").landed is None
    world.coordinator.restart()
    if again:
        asked.queue_landing(world.coordinator.core, "r-0001", replace(way, with_secret=True))
    told = world.land(Lander("nothing to land"))
    assert (told["status"], told["why"], told["files"]) == ("landed", "", ["a.txt"])
    assert world.coordinator.row(Run, "r-0001").landed == COMMIT and not world.kept()
    (row,) = [one for one in world.coordinator.rows(Audit) if one.what == "landed"]
    assert (row.detail["by"], row.detail["gates"], row.detail["files"]) == ("ana", "passed on n1", 1)
    assert row.detail["yes"] == ["with_commands", *(["with_secret"] if again else [])]


def test_what_the_ledger_cannot_note_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    world, lander = LandingWorld(), Lander()
    world.end()
    fails_at(monkeypatch, 1)
    with pytest.raises(UnavailableError):
        world.land(lander)
    assert world.land(Lander("nothing to land"))["status"] == "nothing to land"


def test_one_that_broke_is_said_to_have_failed() -> None:
    world = LandingWorld()
    world.end()
    (action,) = world.waiting()
    with pytest.raises(ZeroDivisionError):
        world.land(Lander(ZeroDivisionError("by zero")))
    asked.give_up(world.coordinator.core, action, ZeroDivisionError("by zero"))
    told = _landing(world)
    assert (told["status"], told["why"]) == ("failed", "ZeroDivisionError: by zero")
    assert "pancode land r-0001" in told["fix"] and not world.kept()


def test_without_memory_its_thread_dies_and_it_stays_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator ends then; the next one lands it."""
    world, dead, known = LandingWorld(), list[type[BaseException]](), threading.Event()
    world.end()

    def died(args: threading.ExceptHookArgs) -> None:
        dead.append(args.exc_type)
        known.set()

    def land(*_asked: object) -> dict[str, Any]:
        raise MemoryError

    monkeypatch.setattr(threading, "excepthook", died)
    queue = LandingQueue(world.coordinator.core, land, lambda run: None, str, again_s=0)
    queue.start()
    queue.wake()
    known.wait(10)
    queue.stop()
    assert set(dead) == {MemoryError} and world.kept()


def test_a_user_who_was_faster_leaves_nothing_to_do() -> None:
    world, lander = LandingWorld(), Lander()
    world.end()
    core = world.coordinator.core
    row = world.coordinator.row(Run, "r-0001")
    with unit_of_work(core) as work:
        work.signal(row, asked.make_landed({"commit": COMMIT, "files": ("a.txt",)}, LandWay("ana")))
    world.coordinator.restart()
    assert world.land(lander)["status"] == "landed" and lander.landed == []


def test_a_conflict_is_said_wherever_somebody_may_look() -> None:
    world = LandingWorld()
    world.end()
    told = world.land(Lander(WorkspaceError("not landed", why="a.txt", fix="look", code="conflict")))
    assert (told["status"], told["fix"]) == ("conflict", "look") and "a.txt" in told["why"]
    assert "not landed: conflict" in query.get_run_shape(world.coordinator.core, "last")["notes"]
    assert any(a.level == "warning" and "conflict" in a.what for a in world.coordinator.rows(Audit))
    world.coordinator.restart()
    assert world.waiting() == [], "it is not tried again by itself"


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED), "not landed"),
        ({"commit": None, "files_changed": (), "change": "no_change"}, "nothing to land"),
    ],
)
def test_what_is_not_done_or_has_changed_nothing_is_not_landed(ended: dict[str, Any], status: str) -> None:
    world, lander = LandingWorld(), Lander()
    world.end(**ended)
    assert world.land(lander)["status"] == status and lander.landed == []


def test_without_land_nothing_is_landed() -> None:
    world, lander = LandingWorld(land=False), Lander()
    world.end()
    assert world.land(lander) == {} and lander.landed == [] and not world.kept()


def test_by_hand_it_waits_with_its_way_also_over_a_restart() -> None:
    world, ways = LandingWorld(land=False), list[LandWay]()
    world.end()
    way = LandWay("ana", gates=False, branch="agent/x", how=How.REBASE)
    first = asked.queue_landing(world.coordinator.core, "r-0001", way)
    assert asked.queue_landing(world.coordinator.core, "r-0001", way).id == first.id, (
        "asked twice, once in the queue"
    )
    assert _landing(world)["status"] == "waiting" and asked.repo_of(first) == "repo-1"
    world.coordinator.restart()

    def land(run: Run, meant: LandWay, wanted: Callable[[], bool]) -> dict[str, Any]:
        ways.append(meant)
        return Lander()(run, meant, wanted)

    assert world.land(land)["status"] == "landed" and ways == [way]
    assert world.coordinator.row(Run, "r-0001").landed == COMMIT and not world.kept()


def test_another_way_takes_the_place_of_the_one_that_waits() -> None:
    world = LandingWorld()
    world.end()
    core, (old,) = world.coordinator.core, world.waiting()
    new = asked.queue_landing(core, "r-0001", LandWay("ana", with_commands=True))
    assert [one.id for one in world.waiting()] == [new.id] and not asked.is_still_waiting(core, old)
    asked.give_up(core, old, ZeroDivisionError("under way meanwhile"))
    assert [one.id for one in world.waiting()] == [new.id], "its end takes nothing else away"


def test_one_that_has_not_ended_does_not_wait_in_the_queue() -> None:
    world = LandingWorld(land=False)
    with pytest.raises(WorkspaceError, match="has not ended"):
        asked.queue_landing(world.coordinator.core, "r-0001", LandWay("ana"))


def test_what_a_user_asked_for_in_vain_is_not_put_into_the_inbox() -> None:
    world = LandingWorld(land=False)
    world.end()
    asked.queue_landing(world.coordinator.core, "r-0001", LandWay("ana"))
    told = world.land(
        Lander(WorkspaceError("held", why="Makefile", code="held", details={"yes": "--with-commands"}))
    )
    assert told["status"] == "held" and told["yes"] == ["--with-commands"]
    assert world.coordinator.rows(Action) == []


def test_an_approval_comes_too_late_for_one_that_was_denied() -> None:
    world = LandingWorld()
    world.end()
    core, way = world.coordinator.core, LandWay("ana", approves=True)
    with pytest.raises(UsageError, check=lambda error: error.code == "nothing_asked"):
        asked.queue_landing(core, "r-0001", way)
    world.land(
        Lander(WorkspaceError("held", why="Makefile", code="held", details={"yes": "--with-commands"}))
    )
    action = asked.queue_landing(core, "r-0001", way)
    assert asked.is_still_waiting(core, action)
    deny_run(world.coordinator.core, "r-0001", "bob")
    assert not asked.is_still_waiting(core, action), "denied while it waits for its turn"


@pytest.mark.parametrize("terms", [{}, {"verify_on": "other"}])
def test_a_removed_setting_or_an_older_run_leaves_the_landing_to_a_user(terms: dict[str, Any]) -> None:
    """Both asked that another node run the gates first."""
    world, why = LandingWorld(), "" if terms else "dispatch.verify_on is left out"
    world.end()
    (action,), core = world.waiting(), world.coordinator.core
    if not terms:
        assert not asked.hold_back(core, action, str), "nothing holds it"
    run = world.coordinator.row(Run, action.run)
    with world.coordinator.ledger.transaction() as tx:
        tx.put(replace(run, terms={**run.terms, **terms}))
    assert asked.hold_back(core, action, lambda: why)
    landing = query.get_run_shape(core, "last")["landing"]
    assert landing is not None and landing["status"] == "held" and landing["fix"] == "pancode approve r-0001"
    assert (why or "another node") in landing["why"] and not world.kept()
    asked.queue_landing(core, "r-0001", LandWay(by="ana"))
    (again,) = world.waiting()
    unread = partial(pytest.fail, "a landing that a user requested reads no settings")
    assert not asked.hold_back(core, again, unread), "a user has requested it"
