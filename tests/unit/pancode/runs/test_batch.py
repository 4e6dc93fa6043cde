"""Words of all nodes are applied in one commit: one that cannot be applied takes nothing from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from node_agent.wire.control import Acknowledge, Reject, Resend
from node_agent.wire.event import Finding
from node_agent.wire.failure import Outcome
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.node import JournalEntry
from node_agent.wire.receipt import Blob
from node_agent.wire.signing import Envelope
from pancode.kernel.errors import ConflictError, UnavailableError
from pancode.kernel.records import Audit, Decision, Run
from pancode.runs.life.changes import Changes
from pancode.runs.receipts.settlement import ANSWER_AGAIN_MS
from pancode.runs.unit_of_work import Work
from tests.unit.pancode.runs.world import Desk, Puppet

BLOB = Blob(name="out", size=3, sha256="1" * 64)


class Pair:
    """Two nodes with a run each; the words of the first are read before those of the second."""

    def __init__(self) -> None:
        self.coordinator = Desk()
        self.good, self.bad = Puppet(self.coordinator, "a-good"), Puppet(self.coordinator, "bad")
        self.jobs = [self.started(self.good, "r-good"), self.started(self.bad, "r-bad0")]

    def started(self, node: Puppet, run: str) -> Job:
        node.breathe()
        self.coordinator.dispatch(run, node=node.name)
        self.coordinator.turn()
        job = node.take()
        node.start(job)
        self.coordinator.turn()
        return job

    def spoil(self, patch: pytest.MonkeyPatch) -> None:
        """The next word about the bad node's run meets a ledger that does not take it at first."""
        applied, spoilt = Work.apply, list[Run]()

        def apply(work: Work, changes: Changes) -> Run:
            if changes.run.id == "r-bad0" and not spoilt:
                spoilt.append(changes.run)
                raise ConflictError("it already exists")
            return applied(work, changes)

        patch.setattr(Work, "apply", apply)
        self.spoilt = spoilt
        self.bad.say(self.jobs[1].identity, Finding(level="info", text="spoilt"))

    def deliver(self, **changes: Any) -> Envelope:
        envelope = self.good.deliver(self.jobs[0], **changes)
        with pytest.MonkeyPatch.context() as patch:
            self.spoil(patch)
            self.coordinator.turn()
        told = self.coordinator.rows(Decision, run="r-bad0")
        assert self.spoilt and told[-1].detail == "spoilt", "the commit failed, then each went alone"
        return envelope

    def said(self) -> list[type[Any]]:
        return [type(control.body) for control in self.good.controls()]


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_bytes_are_asked_for_again(pair: Pair) -> None:
    pair.coordinator.depot.missing_blobs = {"out"}
    envelope = pair.deliver(blobs=(BLOB,))
    assert pair.said()[-1] is Resend
    assert pair.coordinator.core.live.answers.requests[envelope.digest()][1] == 1, "counted once"


def test_a_lie_is_rejected(pair: Pair) -> None:
    pair.deliver(runtime="another")
    assert pair.said()[-1] is Reject


def test_a_receipt_that_comes_again_is_answered_again(pair: Pair) -> None:
    envelope = pair.good.deliver(pair.jobs[0])
    pair.coordinator.turn()
    pair.good.uplink.send(envelope.model_dump_json())
    pair.coordinator.turn(ANSWER_AGAIN_MS)
    pair.said()
    pair.coordinator.clock.ms += ANSWER_AGAIN_MS
    pair.good.uplink.send(envelope.model_dump_json())
    with pytest.MonkeyPatch.context() as patch:
        pair.spoil(patch)
        pair.coordinator.turn()
    assert pair.said() == [Acknowledge]


class Disk:
    """An archive that is full at first; which receipts came at once."""

    def __init__(self) -> None:
        self.waits: list[list[str]] = []

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        self.waits.append([identity.run for identity, _ in receipts])
        if len(self.waits) == 1:
            raise UnavailableError("cannot archive the receipt")

    def has_room(self) -> bool:
        return True


def test_receipts_of_one_round_wait_once_for_the_disk_and_are_settled_after_it(pair: Pair) -> None:
    core, disk = pair.coordinator.core, Disk()
    core.ports = replace(core.ports, archive=disk)
    pair.good.deliver(pair.jobs[0])
    pair.bad.deliver(pair.jobs[1])
    with pytest.raises(UnavailableError):
        pair.coordinator.turn()
    assert [run.outcome for run in pair.coordinator.rows(Run)] == [
        None,
        None,
    ] and Acknowledge not in pair.said()
    pair.coordinator.turn()
    assert disk.waits == [["r-good", "r-bad0"]] * 2
    assert [run.outcome for run in pair.coordinator.rows(Run)] == [Outcome.DONE] * 2
    assert Acknowledge in pair.said()
    pair.coordinator.check_books()


def test_a_foreign_receipt_is_on_record(pair: Pair) -> None:
    pair.deliver(fleet="f-other")
    dropped = [a for a in pair.coordinator.rows(Audit) if a.what == "foreign receipt dropped"]
    assert len(dropped) == 1


def test_what_an_unbelieved_inventory_would_change_is_not_kept(pair: Pair) -> None:
    """It doubts the run that is open there, and names a number that was never signed."""
    core = pair.coordinator.core
    pair.coordinator.clock.ms += pair.coordinator.rules.start_by_ms
    pair.good.breathe()
    since = dict(core.live.journals.doubted)
    assert since
    strange = AttemptId(run="r-good", attempt=1, lease=999_999_999)
    pair.good.journal = [
        JournalEntry(identity=strange, job="2" * 64, mark=Mark.ACCEPTED, last_event=0),
        JournalEntry(
            identity=pair.jobs[0].identity,
            job=pair.jobs[0].signed(pair.coordinator.key).digest(),
            mark=Mark.ACCEPTED,
            last_event=0,
        ),
    ]
    pair.good.breathe()
    assert core.live.journals.doubted == since
    assert [a.detail["node"] for a in pair.coordinator.rows(Audit) if a.what == "message refused"] == [
        "a-good"
    ]
