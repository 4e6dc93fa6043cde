"""The node agent's turns: what it takes, refuses, obeys, tells; and what it does not believe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from node_agent.agent.agent import RESULT_MS
from node_agent.attempt.accept import Ceiling, read_ceiling
from node_agent.wire.control import SetSlots, StopControl
from node_agent.wire.event import Finding, Marked
from node_agent.wire.failure import JobRefusal, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.node import GpuLoad, RuntimeFact
from node_agent.wire.policy import Safety
from node_agent.wire.signing import SigningKey
from tests.fakes.node import Script
from tests.fakes.node.runtime import MemoryFacts
from tests.unit.node_agent.stage import AHEAD, LONG, STRANGER, Stage, identity, job_of, running, why

NAME = str(identity())


def test_no_job_is_taken_before_fleet_time() -> None:
    stage = Stage()
    stage.push(job_of())
    stage.agent.tick()
    assert len(stage.uplink.queue) == 1
    stage.beat(answers="not ours")
    stage.agent.tick()
    assert len(stage.uplink.queue) == 1
    stage.beat()
    stage.agent.tick()
    assert stage.uplink.queue == []


def test_a_heartbeat_says_who_holds_a_gpu_until_the_attempt_is_over() -> None:
    stage = Stage(script=lambda _: LONG, slots=2)
    facts = stage.agent.world.facts
    assert isinstance(facts, MemoryFacts)
    facts.loads = (GpuLoad(uuid="GPU-0", memory_free=5), GpuLoad(uuid="GPU-1", busy=7))
    stage.push(job_of(identity=identity(run="r-plain")))
    stage.push(job_of(identity=identity(run="r-asks"), gpus=("GPU-1",)))
    stage.go(10_000)
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.gpus == (
        GpuLoad(uuid="GPU-0", memory_free=5),
        GpuLoad(uuid="GPU-1", busy=7, holder=identity(run="r-asks")),
    )
    stage.tell(StopControl(identity=identity(run="r-asks"), reason="enough"))
    stage.settle()
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.gpus[1].holder is None


def test_never_more_than_the_slots() -> None:
    stage = Stage(script=lambda _: LONG, slots=2)
    for number in range(5):
        stage.push(job_of(identity=identity(run=f"r-run{number}")))
    stage.go(10_000)
    assert len(stage.host.spawns) == 2
    assert [entry.mark for entry in stage.journal.live()] == 2 * [Mark.SPAWNED] + 3 * [Mark.HELD]
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.ask.slots == 2
    assert {one.run for one in heartbeat.ask.open} == {"r-run0", "r-run1"}


def test_a_slot_is_free_before_the_receipt_is_answered() -> None:
    stage = Stage(slots=1)
    stage.acknowledges = False
    stage.push(job_of())
    stage.go(20_000)
    stage.push(job_of(identity=identity(run="r-second"), start_by=FleetTime(epoch=1, ms=AHEAD + 2_000_000)))
    assert stage.go(20_000, lambda: "r-second.1.1" in stage.receipts)


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        ("looking", []),
        ("missing", [JobRefusal.RUNTIME_MISSING]),
        ("not_logged_in", [JobRefusal.RUNTIME_MISSING]),
    ],
)
def test_a_start_does_not_refuse_what_it_has_not_looked_for_yet(
    state: Literal["looking", "missing", "not_logged_in"], refused: list[JobRefusal]
) -> None:
    stage = Stage()
    facts = stage.agent.world.facts
    assert isinstance(facts, MemoryFacts)
    facts.finds = lambda name: RuntimeFact(name=name, state=state)
    stage.push(job_of())
    stage.go(20_000)
    assert why(stage) == refused
    assert [claims.outcome for claims in stage.order_of_receipts] == ([] if refused else [Outcome.DONE])


def test_an_older_lease_never_starts() -> None:
    stage = Stage()
    stage.push(job_of(identity=identity(lease=2)))
    stage.go(3_000)
    stage.push(job_of(identity=identity(lease=1)))
    stage.settle()
    assert why(stage) == [JobRefusal.OLD_LEASE]


def test_a_job_of_an_epoch_that_is_over() -> None:
    stage = Stage()
    stage.go(2_000)
    stage.epoch = 2
    stage.go(10_000)
    stage.push(job_of())
    stage.settle()
    assert why(stage) == [JobRefusal.OLD_EPOCH]
    assert stage.start()._fleet.epoch_seen == 2  # believed for good


def test_too_late() -> None:
    stage = Stage()
    stage.go(70_000)
    stage.push(job_of())
    stage.settle()
    assert why(stage) == [JobRefusal.TOO_LATE]


def test_the_owner_s_ceiling() -> None:
    stage = Stage()
    stage.agent.world.facts.top = Ceiling(safety=Safety.SUGGEST)  # type: ignore[attr-defined]
    stage.push(job_of())
    stage.settle()
    assert why(stage) == [JobRefusal.CEILING]


def test_the_same_job_again_is_answered_and_not_started_again() -> None:
    stage = running(Script())
    stage.settle()
    before = len(stage.host.spawns)
    stage.events.clear()
    stage.uplink.settled.clear()
    stage.push(job_of())
    stage.go(10_000)
    assert len(stage.host.spawns) == before and len(stage.receipts[NAME]) == 1
    assert any(isinstance(body, Marked) for body in stage.bodies())
    assert [ok for ok, _ in stage.uplink.settled.values()] == [True]


def test_other_bytes_for_a_lease_change_nothing_and_are_told() -> None:
    stage = running()
    stage.push(job_of(task="something else"))
    stage.go(5_000)
    assert why(stage) == [] and len(stage.host.spawns) == 1
    assert any(isinstance(body, Finding) and "another job" in body.text for body in stage.bodies())


@pytest.mark.parametrize("key", [STRANGER, SigningKey(b"n" * 32)])
def test_a_forged_job(key: SigningKey) -> None:
    stage = Stage()
    stage.push(job_of(), key=key)
    stage.go(8_000)
    assert stage.uplink.queue == [] and stage.host.spawns == [] and stage.journal.entries() == []
    assert [ok for ok, _ in stage.uplink.settled.values()] == [False]
    heartbeat = stage.heartbeat()
    assert heartbeat is not None
    assert any("not accepted" in problem.what for problem in heartbeat.facts.problems)


def test_lost_events_are_sent_again() -> None:
    """A Redis that forgets what it took: the heartbeat's cursor brings everything again, nothing twice
    applied.
    """
    stage = running()
    stage.events.clear()
    stage.cursors[NAME] = 0
    stage.go(30_000)
    assert [seq for name, seq in sorted(stage.events) if name == NAME][:3] == [1, 2, 3]
    count = len(stage.uplink.sent)
    stage.go(60_000)
    assert len(stage.uplink.sent) == count  # and then there is silence


def test_an_inventory_opens_each_link_and_each_epoch() -> None:
    stage = running()
    assert len(stage.inventories) == 1
    stage.go(30_000)
    assert len(stage.inventories) == 1
    stage.uplink.down = True
    stage.go(20_000)
    stage.uplink.down = False
    stage.go(10_000)
    assert len(stage.inventories) == 2
    stage.epoch = 2
    stage.go(10_000)
    told = stage.inventories[-1]
    assert len(stage.inventories) == 3 and told.at.epoch == told.epoch_seen == 2
    assert [(str(one.identity), one.mark) for one in told.entries] == [(NAME, Mark.SPAWNED)]


def test_facts_are_sent_when_they_changed_and_to_a_coordinator_that_may_lack_them() -> None:
    stage = Stage()

    def count(ms: int) -> int:
        before = len(stage.uplink.profiles)
        stage.go(ms)
        since = stage.uplink.profiles[before:]
        assert len(since) > ms / 10_000
        return sum(map(bool, since))

    assert count(60_000) == 1
    stage.uplink.down = True
    stage.go(20_000)
    stage.uplink.down = False
    assert count(20_000) == 1, "after a cut the Redis may be another one"
    stage.epoch = 2
    assert count(20_000) == 1, "a coordinator has started"
    assert count(60_000) == 0


def test_a_node_without_work_looks_each_six_seconds_and_one_at_work_each_second() -> None:
    stage = Stage()
    stage.go(9_000)
    waits = list[int]()
    for _ in range(4):
        waits.append(stage.turn())
        stage.clock.advance(waits[-1])
    assert max(waits) == 6_000 and not stage.journal.live()
    stage.push(job_of())  # no hint tells of it
    began = stage.clock.ms
    assert stage.go(20_000, lambda: len(stage.host.spawns) == 1) and stage.clock.ms - began <= 5_000
    assert stage.turn() <= 1_000


def test_what_the_inventory_does_not_name_never_starts() -> None:
    """The promise behind it: a job with a start-by before its moment is refused ever after."""
    stage = Stage()
    stage.go(10_000)
    at = stage.inventories[-1].at
    stage.push(job_of(start_by=FleetTime(epoch=1, ms=at.ms - 1)))
    stage.settle()
    assert why(stage) == [JobRefusal.TOO_LATE]


def test_a_restart_goes_on_with_what_runs() -> None:
    stage = running(Script(duration_ms=30_000))
    session = stage.agent.session
    stage.agent = stage.start()
    stage.settle()
    assert stage.agent.session != session and stage.claims[NAME].outcome is Outcome.DONE
    assert stage.claims[NAME].usage.input_tokens == 10  # read again from the first byte


def test_a_restart_without_a_link_waits_for_the_time() -> None:
    """Accepted and not started before the restart: it needs fleet time to know whether it still may."""
    stage = Stage()
    stage.depot.down = True
    stage.push(job_of())
    stage.go(5_000)
    stage.uplink.down, stage.depot.down = True, False
    stage.agent = stage.start()
    stage.go(10_000)
    assert stage.host.spawns == []
    stage.uplink.down = False
    stage.settle()
    assert stage.claims[NAME].outcome is Outcome.DONE


def test_what_outlives_its_attempt_is_ended_and_told() -> None:
    stage = running(Script(duration_ms=90_000))
    stage.host.leftovers[NAME] = 2
    stage.go(70_000)
    assert stage.host.leftovers, "its processes are its own while it works"
    stage.settle()
    stage.host.taken.add(NAME)
    stage.go(70_000)
    assert stage.host.leftovers, "another attempt works in its folder"
    stage.host.taken.clear()
    stage.go(70_000)
    heartbeat = stage.heartbeat()
    assert stage.host.leftovers == {} and heartbeat is not None
    assert any(f"2 processes of {NAME} had outlived it" in one.what for one in heartbeat.facts.problems)


def test_a_damaged_entry_ends_as_ours() -> None:
    stage = running()
    stage.shelf.damaged.add(NAME)
    stage.agent = stage.start()
    stage.settle()
    claims = stage.claims[NAME]
    assert claims.outcome is Outcome.INFRA and "damaged" in claims.reason
    assert len(stage.host.spawns) == 1
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and any("damaged" in p.what for p in heartbeat.facts.problems)


def test_old_entries_are_forgotten_in_a_later_epoch_only() -> None:
    stage = running(Script())
    stage.tell(StopControl(identity=identity(run="r-never"), reason="x"))
    stage.settle()
    stage.go(2_000)
    month = 31 * 24 * 3_600_000
    stage.clock.advance(month)
    stage.go(5_000)
    assert len(stage.journal.entries()) == 1 and stage.journal.node().stops
    stage.epoch = 2
    stage.go(5_000)
    stage.clock.advance(3_600_000)
    stage.go(5_000)
    assert stage.journal.entries() == [] and not stage.journal.node().stops
    assert stage.journal.last_receipt() is not None


def test_outputs_are_let_go_three_days_after_the_acknowledgement() -> None:
    stage = running(Script())
    stage.settle()
    stage.clock.advance(RESULT_MS - 3_600_000)
    stage.go(5_000)
    assert stage.shelf.dropped == set() and stage.host.results
    stage.clock.advance(3_600_000)
    stage.go(5_000)
    assert f"{NAME}/out" in stage.shelf.dropped and stage.host.forgotten and not stage.host.results


def test_a_full_disk_does_not_make_the_node_fall_silent() -> None:
    stage = running(Script(duration_ms=5_000))
    stage.shelf.full = True
    stage.epoch = 2  # must be made durable, and cannot be
    stage.tell(SetSlots(slots=9))
    stage.go(30_000)
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.seq > 5
    assert any("disk is full" in problem.what for problem in heartbeat.facts.problems)
    assert stage.claims[NAME].outcome is Outcome.DONE  # and the work came to its end
    stage.shelf.full = False
    stage.go(5_000)
    assert stage.agent.slots() == 9 and stage.journal.node().epoch == 2


def test_a_coordinator_that_lost_a_receipt_gets_it_again() -> None:
    stage = running(Script())
    stage.settle()
    stage.receipts.clear()
    stage.push(job_of())
    stage.go(3_000)
    assert len(stage.receipts[NAME]) == 1


def test_the_ceiling_file(tmp_path: Path) -> None:
    path = tmp_path / "ceiling.json"
    assert read_ceiling(path) == Ceiling()
    path.write_text('{"safety": "auto-edit", "runtimes": ["shell"]}')
    assert read_ceiling(path) == Ceiling(safety=Safety.AUTO_EDIT, runtimes=("shell",))
    for bad in ('{"safety": "none"}', '{"saftey": "suggest"}', "", "[]"):
        path.write_text(bad)
        found = read_ceiling(path)
        assert found.closed and str(path) in found.closed  # it meant something: nothing is allowed
        assert found.forbids(job_of()) == found.closed


def test_what_it_refused_and_could_not_even_note_is_never_started() -> None:
    """The disk was full, and has room when the job comes once more."""
    stage = Stage()
    stage.go(3_000)
    stage.shelf.full = True
    stage.push(job_of())
    stage.go(3_000)
    assert stage.uplink.queue == [] and stage.journal.entries() == []
    stage.shelf.full = False
    stage.push(job_of())
    stage.go(5_000)
    assert stage.uplink.queue == [] and stage.journal.entries() == [] and not stage.host.spawns


def test_a_heartbeat_has_the_signs_of_agents_at_work_and_of_no_other() -> None:
    stage = running(Script(duration_ms=120_000))
    stage.go(10_000)
    first = stage.heartbeat()
    assert first is not None and [str(one.identity) for one in first.signs] == [NAME]
    stage.host.activity = replace(stage.host.activity, cpu_ms=60_000)
    stage.go(35_000)
    second = stage.heartbeat()
    assert second is not None and second.signs[0].cpu_ms is not None and second.signs[0].cpu_ms < 35_000
    assert second.signs[0].output_ms > 35_000 and second.signs[0].files_ms is None
    stage.go(120_000)
    last = stage.heartbeat()
    assert last is not None and last.signs == ()
