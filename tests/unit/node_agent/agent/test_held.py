"""Jobs that wait on the node: begun as slots free, with or without a link, once; and taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

import pytest

from node_agent.agent.snapshots import list_needed
from node_agent.agent.worker import ThreadDrive
from node_agent.wire.control import ControlBody, Drain, Revoke, StopControl, TakeBack, Tombstone
from node_agent.wire.event import Marked, Refused, Revoked
from node_agent.wire.failure import JobRefusal, Outcome
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from tests.fakes.node import MemoryRunner, Script, Tripwire
from tests.unit.node_agent.stage import Stage, gates, identity, job_of, why

SHORT = Script(duration_ms=5_000)
ONE, TWO, THREE = (identity(run=f"r-run{number}") for number in (1, 2, 3))


def ahead(who: AttemptId, **changes: object) -> Job:
    return job_of(identity=who, ahead=True, **changes)


def holding(slots: int = 1, script: Script = SHORT, **changes: object) -> Stage:
    """One job at work, and two that are held behind it."""
    stage = Stage(slots=slots, script=lambda _: script)
    for who in (ONE, TWO, THREE):
        stage.push(ahead(who, **changes))
    assert stage.go(20_000, lambda: len(stage.host.spawns) == slots and len(stage.journal.live()) == 3)
    return stage


def marks(stage: Stage) -> list[Mark]:
    return [entry.mark for entry in stage.journal.live()]


def alone(stage: Stage, ms: int) -> None:
    """Nobody leads: no heartbeat, no link, no depot."""
    stage.uplink.down = stage.depot.down = True
    for _ in range(ms // 1_000):
        stage.turn()
        stage.clock.advance(1_000)


def test_held_ones_hold_no_slot_and_are_told() -> None:
    stage = holding()
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.ask.open == (ONE,) and heartbeat.ask.ahead >= 16
    assert marks(stage)[1:] == [Mark.HELD, Mark.HELD]
    assert stage.bodies(TWO) == [Marked(mark=Mark.HELD)]
    assert {str(one) for one in (TWO, THREE)} <= stage.host.mirrored, "the snapshot is there before its word"


def test_they_begin_one_after_the_other_while_nobody_leads_and_report_later() -> None:
    stage = holding()
    alone(stage, 400_000)
    assert [name.split("/")[2] for name in stage.host.spawns] == [str(one) for one in (ONE, TWO, THREE)]
    assert stage.receipts == {}, "nothing has gone out yet"
    stage.uplink.down = stage.depot.down = False
    stage.settle()
    assert {name: len(digests) for name, digests in stage.receipts.items()} == {
        str(one): 1 for one in (ONE, TWO, THREE)
    }


def test_after_kill_9_and_after_a_reboot_too_long_after_start_by() -> None:
    stage = holding()
    stage.uplink.down = stage.depot.down = True
    stage.agent = stage.start()
    alone(stage, 150_000)
    assert str(TWO) in "".join(stage.host.spawns), "no fleet time, no link: it begins"
    stage = holding()
    stage.host.power_cut()
    stage.shelf.power_cut()
    stage.agent = stage.start()
    alone(stage, 3_600_000)
    begun = [name.split("/")[2] for name in stage.host.spawns]
    assert begun == [str(one) for one in (ONE, TWO, THREE)], "each once"


@pytest.mark.parametrize("control", ["stop", "tombstone", "take back"])
def test_a_word_of_the_coordinator_ends_the_wait(control: str) -> None:
    stage = holding(script=Script(duration_ms=600_000))
    match control:
        case "stop":
            stage.tell(StopControl(identity=TWO, reason="not today"))
        case "tombstone":
            stage.tell(Tombstone(run=TWO.run, up_to_lease=1, reason="not today"))
        case _:
            stage.tell(TakeBack(identity=TWO, reason="not today"))
    assert stage.go(10_000, lambda: len(stage.bodies(TWO)) == 2)
    said = stage.bodies(TWO)[-1]
    if control == "take back":
        assert said == Refused(why=JobRefusal.TAKEN_BACK, detail="not today")
    else:
        assert said == Revoked(reason="not today")
    stage.agent = stage.start()
    entry = stage.journal.get(TWO)
    assert entry is not None and entry.mark is Mark.REFUSED
    stage.tell(StopControl(identity=ONE, reason="room"))
    assert stage.go(60_000, lambda: str(THREE) in "".join(stage.host.spawns))
    assert str(TWO) not in "".join(stage.host.spawns), "the next one has its turn"


def test_what_has_begun_is_not_taken_back() -> None:
    stage = holding()
    stage.tell(TakeBack(identity=ONE, reason="elsewhere"))
    stage.tell(TakeBack(identity=identity(run="r-never"), reason="elsewhere"))
    stage.settle()
    assert why(stage, str(ONE)) == [] and set(stage.receipts) == {str(one) for one in (ONE, TWO, THREE)}


@pytest.mark.parametrize("body", [Drain(on=True, reason="disk"), Revoke(reason="removed")])
def test_a_drain_and_a_removal_give_all_back(body: Drain | Revoke) -> None:
    stage = holding()
    stage.tell(body)
    stage.settle()
    assert why(stage, str(TWO)) == why(stage, str(THREE)) == [JobRefusal.TAKEN_BACK]
    assert set(stage.receipts) == {str(ONE)}


def test_the_journal_says_whose_snapshots_are_still_needed() -> None:
    stage = holding()
    assert [job.identity for job in list_needed(stage.journal)] == [TWO, THREE]


def test_without_its_snapshot_it_is_not_held_and_after_start_by_not_taken() -> None:
    stage = Stage(slots=1, script=lambda _: SHORT)
    stage.go(2_000)
    stage.depot.down = True
    stage.push(ahead(ONE))
    stage.go(30_000)
    assert stage.journal.live() == [], "nobody was told that it is held"
    stage.depot.down = False
    assert stage.go(30_000, lambda: str(ONE) in "".join(stage.host.spawns)), "pushed again, it is"
    late = Stage(slots=1)
    late.go(2_000)
    late.depot.down = True
    late.push(ahead(ONE))
    late.go(70_000)
    late.depot.down = False
    late.go(30_000)
    assert why(late, str(ONE)) == [JobRefusal.TOO_LATE], "it may be bound elsewhere by then"


def test_a_job_whose_snapshot_is_on_its_way_is_taken_back_too() -> None:
    stage, waiting = Stage(slots=1, script=lambda _: SHORT), list[Callable[[], None]]()
    stage.aside = waiting.append
    stage.agent = stage.start()
    for who in (ONE, TWO):
        stage.push(ahead(who))
    assert stage.go(5_000, lambda: len(waiting) == 1), "one snapshot at a time"
    assert stage.journal.live() == []
    stage.tell(TakeBack(identity=TWO, reason="a slot is free elsewhere"))
    assert stage.go(5_000, lambda: why(stage, str(TWO)) == [JobRefusal.TAKEN_BACK])
    stage.push(ahead(TWO))
    for _ in range(3):
        for fetch in waiting:
            fetch()
        waiting.clear()
        stage.go(2_000)
    assert [name.split("/")[2] for name in stage.host.spawns] == [str(ONE)], "its word stands"


def test_a_crash_at_every_call() -> None:
    """Whatever dies when: each begins once, in turn, and ends with one receipt."""
    for at in count(1, 3):
        stage = Stage(slots=1, script=lambda _: Script(duration_ms=500), wire=Tripwire(at))
        for who in (ONE, TWO):
            stage.push(ahead(who, gates=gates("test")))
        stage.settle()
        begun = [name.split("/")[2] for name in stage.host.spawns if name.count("/") == 2]
        assert sorted(begun) == [str(ONE), str(TWO)], at
        assert {name: len(digests) for name, digests in stage.receipts.items()} == {
            str(ONE): 1,
            str(TWO): 1,
        }, at
        assert len(stage.journal.entries()) == 2, at
        if not stage.crashes:
            break
    assert at > 30


def damaged() -> Stage:
    """The second one is at work, and its journal has lost all behind its first mark."""
    stage, name = holding(script=Script(duration_ms=600_000)), str(TWO)
    stage.tell(StopControl(identity=ONE, reason="room"))
    assert stage.go(60_000, lambda: name in "".join(stage.host.spawns))
    del stage.shelf.records[name][1:]
    stage.shelf.damaged.add(name)
    return stage


@pytest.mark.parametrize(
    "body",
    [
        TakeBack(identity=TWO, reason="elsewhere"),
        StopControl(identity=TWO, reason="not today"),
        Tombstone(run=TWO.run, up_to_lease=1, reason="not today"),
    ],
)
def test_what_lost_the_record_of_its_begin_is_not_said_to_have_never_begun(body: ControlBody) -> None:
    stage = damaged()
    stage.tell(body)
    stage.agent = stage.start()
    entry = stage.journal.get(TWO)
    assert entry is not None and (entry.mark, entry.damaged) == (Mark.HELD, True)
    assert stage.agent.free_slots() == 0, "perhaps it is at work"
    assert stage.go(60_000, lambda: str(TWO) in stage.claims)
    said = [event.body for (name, _), event in stage.events.items() if name == str(TWO)]
    assert not any(isinstance(one, Refused | Revoked) for one in said)
    claims = stage.claims[str(TWO)]
    assert claims.outcome is Outcome.INFRA and "damaged" in claims.reason
    assert stage.go(60_000, lambda: str(THREE) in "".join(stage.host.spawns))


def test_what_lost_the_record_of_its_begin_has_a_thread_that_ends_it() -> None:
    stage = damaged()
    stage.agent = stage.start()
    runner = MemoryRunner(stage.host)
    drive = ThreadDrive(stage.agent.procedure, stage.journal, runner, stage.clock, 1_000)
    drive.run()
    nobody = threading.Event()

    def mark() -> Mark | None:
        entry = stage.journal.get(TWO)
        return None if entry is None else entry.mark

    assert any(mark() is not Mark.HELD or nobody.wait(0.01) for _ in range(2_000))
    drive.leave()
