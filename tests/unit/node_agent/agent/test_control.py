"""What the coordinator tells a node and what the node does of it: verified, applied once, in any order."""

from __future__ import annotations

from node_agent.attempt.ports import Claimed, Sent
from node_agent.wire.control import (
    Acknowledge,
    Drain,
    Reject,
    Resend,
    Revoke,
    SetSlots,
    StopControl,
    Tombstone,
)
from node_agent.wire.endpoint import Dialect, EndpointFact
from node_agent.wire.event import Interrupting
from node_agent.wire.failure import JobRefusal, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.signing import parse_envelope
from tests.fakes.node import Script
from tests.fakes.node.runtime import MemoryFacts
from tests.unit.node_agent.stage import (
    COORDINATOR,
    LONG,
    RUN,
    STRANGER,
    Stage,
    gates,
    identity,
    job_of,
    running,
    why,
)

NAME = str(identity())


def test_slots_by_the_coordinator() -> None:
    stage = running()
    stage.tell(SetSlots(slots=0))
    stage.agent.tick()
    stage.push(job_of(identity=identity(run="r-other")))
    stage.go(10_000)
    marks = [entry.mark for entry in stage.journal.live()]
    assert marks == [Mark.SPAWNED, Mark.HELD]  # nobody running is ended
    stage.tell(SetSlots(slots=5))
    assert stage.go(10_000, lambda: len(stage.host.spawns) == 2)
    stage.agent = stage.start()
    assert stage.agent.slots() == 5


def test_between_bounds_it_takes_fewer_while_it_is_strained_and_says_so() -> None:
    stage = running()
    stage.tell(SetSlots(slots=3, least=1))
    assert stage.go(10_000, lambda: stage.agent.slots() == 3)
    facts = stage.agent.world.facts
    assert isinstance(facts, MemoryFacts)
    facts.load = 7.0
    assert stage.go(400_000, lambda: stage.agent.slots() == 1)
    stage.go(10_000)
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.ask.slots == 1 and "load 7.0 on 1 cores" in heartbeat.ask.why
    assert len(stage.journal.live()) == 1, "what runs continues"
    stage.agent = stage.start()
    assert stage.agent.slots() == 3, "a new start begins with all, and looks anew"
    stage.agent.world.facts.load = 7.0  # type: ignore[attr-defined]
    assert stage.go(400_000, lambda: stage.agent.slots() == 1), "the bounds are kept"
    stage.tell(SetSlots(slots=3))
    assert stage.go(10_000, lambda: stage.agent.slots() == 3), "a number is a number"


def test_a_queue_at_the_server_of_its_runs_takes_slots_and_one_at_another_server_takes_none() -> None:
    stage = Stage(script=lambda _: LONG)
    stage.push(job_of(endpoint="own", model="m"))
    assert stage.go(20_000, lambda: len(stage.host.spawns) == 1)
    stage.tell(SetSlots(slots=3, least=1))
    facts = stage.agent.world.facts
    assert isinstance(facts, MemoryFacts)
    facts.endpoints = (EndpointFact(name="other", dialect=Dialect.VLLM, at="h:1", waiting=9),)
    assert not stage.go(200_000, lambda: stage.agent.slots() < 3)
    facts.endpoints = (EndpointFact(name="own", dialect=Dialect.VLLM, at="h:1", waiting=5),)
    assert stage.go(300_000, lambda: stage.agent.slots() == 1)
    stage.go(10_000)
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.ask.why == "5 calls wait in the queue of own"


def test_drain_refuses_and_ends_nothing() -> None:
    stage = running()
    stage.tell(Drain(on=True, reason="update"))
    stage.go(2_000)
    stage.push(job_of(identity=identity(run="r-other")))
    stage.go(10_000)
    assert why(stage, "r-other.1.1") == [JobRefusal.DRAINING]
    assert stage.journal.get(identity()).mark is Mark.SPAWNED  # type: ignore[union-attr]
    heartbeat = stage.heartbeat()
    assert heartbeat is not None and heartbeat.draining
    stage.tell(Drain(on=False))
    stage.go(2_000)
    stage.push(job_of(identity=identity(run="r-third")))
    assert stage.go(10_000, lambda: "/journal/r-third.1.1" in stage.host.spawns)
    assert not stage.agent.counts, "a drain that is over is not a problem of the node"


def test_an_old_setting_is_no_setting() -> None:
    stage = Stage()
    stage.tell(SetSlots(slots=7))
    stage.go(1_000)
    stage.tell(SetSlots(slots=1), seq=1)
    stage.go(2_000)
    assert stage.agent.slots() == 7


def test_revoked() -> None:
    stage = running(Script(duration_ms=20_000))
    stage.tell(Revoke(reason="removed"))
    stage.go(2_000)
    stage.push(job_of(identity=identity(run="r-other")))
    stage.settle()
    assert why(stage, "r-other.1.1") == [JobRefusal.REVOKED]
    assert stage.claims[NAME].outcome is Outcome.DONE  # nothing that runs is ended


def test_a_stop_for_a_lease_that_comes_later() -> None:
    stage = Stage()
    stage.tell(StopControl(identity=identity(), reason="changed my mind"))
    stage.go(2_000)
    stage.agent = stage.start()  # it was journalled
    stage.push(job_of())
    stage.settle()
    assert why(stage) == [JobRefusal.STOPPED] and stage.host.spawns == []


def test_a_tombstone_for_leases_that_come_later() -> None:
    stage = Stage()
    stage.tell(Tombstone(run=RUN, up_to_lease=2, reason="given up"))
    stage.tell(Tombstone(run=RUN, up_to_lease=1, reason="older news"))
    stage.go(2_000)
    for lease in (1, 2, 3):
        stage.push(job_of(identity=identity(lease=lease)))
        stage.go(3_000)
    stage.settle()
    assert why(stage, f"{RUN}.1.1") == why(stage, f"{RUN}.1.2") == [JobRefusal.TOMBSTONED]
    assert stage.claims[f"{RUN}.1.3"].outcome is Outcome.DONE


def test_rubbish_in_every_channel() -> None:
    stage = running()
    for rubbish in (
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"payloadType":"x","payload":"!","signatures":[]}',
        b"[1]" * 99,
    ):
        stage.uplink.queue.append(Claimed("job", rubbish))
        stage.uplink.told.append(Sent(str(len(stage.uplink.told) + 1), rubbish))
        stage.uplink.pulse = rubbish
        for _ in range(3):
            stage.agent.tick()
    assert stage.journal.get(identity()).mark is Mark.SPAWNED  # type: ignore[union-attr]
    assert stage.agent.counts and len(stage.journal.entries()) == 1


def test_a_forged_stop() -> None:
    stage = running()
    stage.tell(StopControl(identity=identity(), reason="mine"), key=STRANGER)
    stage.tell(StopControl(identity=identity(), reason="mine"), node="0" * 10)
    stage.tell(StopControl(identity=identity(), reason="mine"), fleet="f-other")
    stage.go(10_000)
    assert stage.journal.get(identity()).stop is None  # type: ignore[union-attr]
    assert sum(count for words, count in stage.agent.counts.items() if "control" in words.what) == 3


def test_an_acknowledgement_is_the_coordinator_s_signature_over_our_receipt() -> None:
    stage = Stage()
    stage.acknowledges = False
    stage.push(job_of())
    stage.go(10_000)
    sealed = parse_envelope(stage.journal.receipt(identity()) or "")
    wrong = STRANGER.countersign(sealed).signatures[-1]
    other = COORDINATOR.countersign(job_of().signed(STRANGER)).signatures[-1]
    mine = sealed.signatures[0]
    for bad in (wrong, other, mine):
        stage.tell(Acknowledge(identity=identity(), receipt=sealed.digest(), countersignature=bad))
    good = COORDINATOR.countersign(sealed).signatures[-1]
    stage.tell(Acknowledge(identity=identity(), receipt="0" * 64, countersignature=good))
    stage.go(3_000)
    entry = stage.journal.get(identity())
    assert entry is not None and entry.mark is Mark.RECEIPTED and NAME in stage.host.trees
    stage.tell(Acknowledge(identity=identity(), receipt=sealed.digest(), countersignature=good))
    stage.cursors.clear()
    stage.settle()
    assert stage.journal.get(identity()).mark is Mark.ACKNOWLEDGED  # type: ignore[union-attr]


def test_rejected_keeps_everything() -> None:
    stage = Stage()
    stage.acknowledges = False
    stage.push(job_of())
    stage.go(10_000)
    (digest,) = stage.receipts[NAME]
    stage.tell(Reject(identity=identity(), receipt=digest, reason="the commit is not there"))
    stage.cursors.clear()
    stage.settle()
    entry = stage.journal.get(identity())
    assert entry is not None and entry.mark is Mark.REJECTED and entry.cleaned and NAME in stage.host.trees


def test_resend_uploads_again_and_publishes_again() -> None:
    stage = Stage()
    stage.acknowledges = False
    stage.push(job_of())
    stage.go(6_000)
    (digest,) = stage.receipts[NAME]
    stage.depot.blobs.clear()
    sent = sum("in-toto" in text for text in stage.uplink.sent)
    stage.tell(Resend(identity=identity(), receipt=digest, missing=("out",)))
    stage.go(1_500)
    assert (NAME, "out") in stage.depot.blobs
    assert sum("in-toto" in text for text in stage.uplink.sent) == sent + 1
    assert stage.receipts[NAME] == {digest}


def test_a_rejected_attempt_keeps_its_files_until_it_is_old() -> None:
    stage = Stage()
    stage.acknowledges = False
    stage.push(job_of())
    stage.go(10_000)
    (digest,) = stage.receipts[NAME]
    stage.tell(Reject(identity=identity(), receipt=digest, reason="false"))
    stage.epoch = 2
    stage.go(10_000)
    assert NAME in stage.host.trees and stage.shelf.dropped == set()
    stage.clock.advance(31 * 24 * 3_600_000)
    stage.go(5_000)
    assert stage.host.trees == {} and stage.journal.entries() == []


def test_a_control_message_that_cannot_be_applied_holds_up_nothing() -> None:
    stage = running()
    stage.cursors["not an identity"] = 3
    stage.tell(StopControl(identity=identity(run="r-never"), reason="x"))
    stage.tell(StopControl(identity=identity(), reason="enough"))
    stage.go(3_000)
    del stage.cursors["not an identity"]
    stage.settle()
    assert stage.claims[NAME].outcome is Outcome.INTERRUPTED


def test_interrupting_is_said_at_once() -> None:
    stage = Stage(script=lambda _: Script(duration_ms=600_000, stop_ms=20_000))
    stage.push(job_of(gates=gates("test")))
    stage.go(6_000)
    stage.tell(StopControl(identity=identity(), reason="enough"))
    stage.go(2_000)
    assert isinstance(stage.bodies()[-1], Interrupting)
    assert stage.journal.get(identity()).mark is Mark.SPAWNED  # type: ignore[union-attr]
    stage.settle()
    assert stage.claims[NAME].outcome is Outcome.INTERRUPTED
