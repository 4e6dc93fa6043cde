"""Receipts go out behind the events that were due, those of several threads together."""

from __future__ import annotations

import threading

import pytest

from node_agent.agent.publish import Outbox
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import LinkDown
from node_agent.attempt.records import Note
from node_agent.intervals import Intervals
from node_agent.wire.event import Marked
from node_agent.wire.identity import Mark
from tests.fakes.node import MemoryClock, MemoryShelf, MemoryUplink
from tests.unit.node_agent.stage import COORDINATOR, identity, job_of


class SlowUplink(MemoryUplink):
    """Holds the first call until it is let go, and counts the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, ...]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def send(self, *envelopes: str) -> None:
        self.calls.append(envelopes)
        self.begun.set()
        assert self.go_on.wait(10)
        super().send(*envelopes)


def outbox_with_an_event(uplink: MemoryUplink) -> Outbox:
    journal = Journal(MemoryShelf(), lambda one, seq, body: f"event {seq}", MemoryClock())
    job = job_of()
    envelope = job.signed(COORDINATOR)
    note = Note(mark=Mark.ACCEPTED, say=(Marked(mark=Mark.ACCEPTED),))
    journal.accept(job, envelope.digest(), envelope.model_dump_json(), note)
    outbox = Outbox(journal, uplink, MemoryClock(), Intervals(), " and ".join)
    outbox.note(identity())
    return outbox


def test_a_receipt_goes_behind_the_events_that_are_due() -> None:
    uplink = MemoryUplink()
    outbox_with_an_event(uplink).deliver("receipt")
    assert uplink.sent == ["event 1", "receipt"]


def test_receipts_that_come_while_one_is_sent_go_together() -> None:
    uplink = SlowUplink()
    outbox = outbox_with_an_event(uplink)
    threads = [threading.Thread(target=outbox.deliver, args=(f"receipt {n}",)) for n in range(4)]
    threads[0].start()
    assert uplink.begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(outbox.posted) < 4:
        threads[1].join(0.001)
    uplink.go_on.set()
    for thread in threads:
        thread.join(10)
    assert [len(call) for call in uplink.calls] == [2, 3]
    assert sorted(uplink.sent[1:]) == [f"receipt {n}" for n in range(4)] and outbox.posted == ()


def test_what_could_not_be_sent_is_not_forgotten_and_its_sender_is_told() -> None:
    uplink = MemoryUplink(down=True)
    outbox = outbox_with_an_event(uplink)
    with pytest.raises(LinkDown):
        outbox.deliver("receipt")
    assert outbox.posted == () and outbox.is_due
    uplink.down = False
    outbox.flush()
    assert uplink.sent == ["event 1"]
