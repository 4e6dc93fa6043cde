"""What a journal promises, on memory and on disk: durable, whole or absent, and never silent about damage."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import shake_256
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.journal import Journal, JournalStorage
from node_agent.attempt.ports import DiskFull
from node_agent.attempt.records import JournalError, JournalState, Note, PendingStop, StopKind, StopNote
from node_agent.files import durable
from node_agent.journal.storage import JournalFiles
from node_agent.wire.event import EventBody, Finding, Marked
from node_agent.wire.identity import MARKS, AttemptId, Mark
from tests.fakes.node import MemoryClock, MemoryShelf
from tests.unit.node_agent.stage import COORDINATOR, identity, job_of

Open = Callable[[], Journal]


def noise(length: int) -> str:
    """A text that can be compressed by a quarter only."""
    return base64.b64encode(shake_256(b"noise").digest(length * 3 // 4)).decode()


def say(one: AttemptId, seq: int, body: EventBody) -> str:
    return f"{one} {seq} {body.kind}"


@pytest.fixture(params=["memory", "disk"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], JournalStorage]]:
    """Opens the same durable things each time, as a new process would."""
    memory = MemoryShelf()
    yield ((lambda: memory) if request.param == "memory" else (lambda: JournalFiles(tmp_path / "journal")))


@pytest.fixture
def reopen(shelf: Callable[[], JournalStorage]) -> Open:
    return lambda: Journal(shelf(), say, MemoryClock())


def accept(journal: Journal, one: AttemptId | None = None, **changes: Any) -> AttemptId:
    job = job_of(identity=one or identity(), **changes)
    envelope = job.signed(COORDINATOR)
    note = Note(mark=Mark.ACCEPTED, data={"session": "s1"}, say=(Marked(mark=Mark.ACCEPTED),))
    journal.accept(job, envelope.digest(), envelope.model_dump_json(), note)
    return job.identity


def test_marks_without_work_between_them_are_one_record(
    reopen: Open, shelf: Callable[[], JournalStorage]
) -> None:
    journal = reopen()
    one = accept(journal)
    passed = ((Mark.EXITED, {"code": 0}), (Mark.COMMITTED, {"kind": "none"}))
    said = tuple(Marked(mark=mark) for mark in (Mark.EXITED, Mark.COMMITTED, Mark.GATED))
    journal.write(one, Note(mark=Mark.GATED, data={"x": 1}, passed=passed, say=said))
    entry = reopen().get(one)
    assert entry is not None and entry == journal.get(one)
    assert (entry.mark, entry.last_event) == (Mark.GATED, 4)
    assert [dict(entry.data[mark]) for mark, _ in passed] == [data for _, data in passed]
    assert len(shelf().read(str(one))) == 2


def test_every_mark_is_there_after_a_restart(reopen: Open) -> None:
    journal = reopen()
    one = accept(journal)
    for mark in (Mark.PREPARED, Mark.SPAWNED, Mark.EXITED, Mark.COMMITTED, Mark.GATED, Mark.PUSHED):
        journal.write(one, Note(mark=mark, data={"at": mark.value, "é": "ü"}, say=(Marked(mark=mark),)))
        again = reopen()
        entry = again.get(one)
        assert entry == journal.get(one)
        assert entry is not None and entry.mark is mark and entry.data[mark] == {"at": mark.value, "é": "ü"}
    assert [(e.seq, e.text) for e in reopen().events(one, 5)] == [
        (6, f"{one} 6 marked"),
        (7, f"{one} 7 marked"),
    ]
    assert reopen().job(one) == job_of()


def test_what_was_told_outlives_a_power_cut() -> None:
    """A lazy record goes with the power until it is told, settled, or followed by one that is not lazy."""
    for told in ("nothing", "an event", "settled", "another record", "an output in between"):
        shelf = MemoryShelf()
        journal = Journal(shelf, say, MemoryClock())
        one = accept(journal)
        journal.write(one, Note(mark=Mark.SPAWNED, say=(Marked(mark=Mark.SPAWNED),), lazy=True))
        match told:
            case "an event":
                assert len(journal.events(one, 0)) == 2
            case "settled":
                journal.settle()
            case "another record":
                journal.write(one, Note(baseline="b"))
            case "an output in between":
                journal.write(one, Note(say=(Finding(level="info", text="p"),), lossy=True))
        shelf.power_cut()
        entry = Journal(shelf, say, MemoryClock()).get(one)
        assert entry is not None
        assert entry.mark is (Mark.ACCEPTED if told == "nothing" else Mark.SPAWNED), told


def test_a_process_that_ends_makes_the_next_one_sync_before_it_tells() -> None:
    shelf = MemoryShelf()
    journal = Journal(shelf, say, MemoryClock())
    one = accept(journal)
    journal.write(one, Note(mark=Mark.SPAWNED, say=(Marked(mark=Mark.SPAWNED),), lazy=True))
    assert len(Journal(shelf, say, MemoryClock()).events(one, 0)) == 2
    shelf.power_cut()
    assert len(Journal(shelf, say, MemoryClock()).events(one, 0)) == 2


def test_what_was_not_started_is_prepared_anew(reopen: Open) -> None:
    """And then nothing is known of the set-up whose files are gone."""
    journal = reopen()
    one = accept(journal)
    journal.write(one, Note(mark=Mark.PREPARED, data={"boot": "1"}, baseline="as put back"))
    entry = journal.write(one, Note(mark=Mark.PREPARED, data={"boot": "2"}))
    assert (entry.baseline, entry.data[Mark.PREPARED]) == (None, {"boot": "2"})
    assert reopen().get(one) == entry
    assert journal.write(one, Note(mark=Mark.SPAWNED)).mark is Mark.SPAWNED


def test_marks_go_forward_only(reopen: Open) -> None:
    journal = reopen()
    one = accept(journal)
    for number, mark in enumerate(MARKS[2:8], 2):
        journal.write(one, Note(mark=mark))
        for earlier in MARKS[: number + 1]:
            if earlier is mark is Mark.PREPARED:
                continue
            with pytest.raises(JournalError):
                journal.write(one, Note(mark=earlier))
    assert journal.seal(one, "e", "d" * 64, None)
    journal.write(one, Note(mark=Mark.REJECTED))
    for later in (Mark.ACKNOWLEDGED, Mark.REFUSED):
        with pytest.raises(JournalError):
            journal.write(one, Note(mark=later))


def test_an_entry_is_opened_once(reopen: Open) -> None:
    accept(reopen())
    with pytest.raises(JournalError):
        accept(reopen())


def test_the_first_stop_stands(reopen: Open) -> None:
    journal = reopen()
    one = accept(journal)
    journal.write(one, Note(stop=StopNote(StopKind.STOP, "first"), say=(Finding(level="info", text="x"),)))
    journal.write(one, Note(stop=StopNote(StopKind.USD, "second"), say=(Finding(level="info", text="y"),)))
    entry = reopen().get(one)
    assert entry is not None and entry.stop == StopNote(StopKind.STOP, "first") and entry.last_event == 2


def test_lossy_events_share_the_numbers(reopen: Open) -> None:
    journal = reopen()
    one = accept(journal)
    journal.write(one, Note(say=(Finding(level="info", text="p"),), lossy=True))
    journal.write(one, Note(mark=Mark.PREPARED, say=(Marked(mark=Mark.PREPARED),)))
    journal = reopen()
    journal.write(one, Note(say=(Finding(level="info", text="q"),), lossy=True))
    assert [event.seq for event in reopen().events(one, 0)] == [1, 2, 3, 4]


def test_the_chain_of_receipts(reopen: Open) -> None:
    journal = reopen()
    ones = [accept(journal, identity(run=f"r-run{n}")) for n in range(3)]
    for one in ones:
        journal.write(one, Note(mark=Mark.PUSHED))
    assert journal.last_receipt() is None
    assert journal.seal(ones[1], '{"n":1}', "1" * 64, None)
    assert not reopen().seal(ones[0], '{"n":2}', "2" * 64, None)  # its predecessor is not the last any more
    journal = reopen()
    assert journal.seal(ones[0], '{"n":2}', "2" * 64, "1" * 64)
    assert (journal.receipt(ones[0]), journal.receipt(ones[2])) == ('{"n":2}', None)
    with pytest.raises(JournalError):
        journal.seal(ones[0], "{}", "3" * 64, "2" * 64)
    journal.forget(ones[0])
    assert reopen().last_receipt() == "2" * 64  # also when its entry is gone


def test_what_is_cleaned_is_light_and_still_known(reopen: Open) -> None:
    journal = reopen()
    one = accept(journal)
    journal.write(one, Note(mark=Mark.REFUSED, data={"why": "x"}))
    journal.write(one, Note(cleaned=True))
    again = reopen()
    entry = again.get(one)
    assert entry is not None and entry.cleaned and entry.final and entry.data == {}
    assert again.live() == [] and again.entries() == [entry]
    assert again.top_lease(one.run) == one.lease


def test_forget(reopen: Open) -> None:
    journal = reopen()
    one, other = accept(journal), accept(journal, identity(run="r-other"))
    journal.forget(one)
    journal.forget(one)
    assert [entry.identity for entry in reopen().entries()] == [other]
    with pytest.raises(KeyError):
        reopen().job(one)


def test_the_node_s_own_state(reopen: Open) -> None:
    journal = reopen()
    assert journal.node() == JournalState()
    state = replace(
        JournalState(), epoch=4, control_seq=9, slots=3, draining=True,
        stops={"r-x123.1.1": PendingStop("stop", 4, 7)}, tombstones={"r-y123": PendingStop("old", 4, 8, 2)},
    )  # fmt: skip
    journal.set_node(state)
    assert reopen().node() == state


def test_the_epoch_of_jobs_is_never_forgotten(reopen: Open) -> None:
    accept(reopen(), epoch=6)
    assert reopen().node().epoch == 6


# -- on disk only


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def on(disk: Path) -> Journal:
    return Journal(JournalFiles(disk), say, MemoryClock())


def test_a_last_record_cut_short_anywhere(disk: Path) -> None:
    """Power fails in the middle of a write: the record is wholly absent, and the next one takes its place."""
    journal = on(disk)
    one = accept(journal)
    marks = disk / str(one) / "marks"
    before = marks.read_bytes()
    journal.write(one, Note(mark=Mark.PREPARED, data={"work": "w" * 40}))
    after = marks.read_bytes()
    start, end = _difference(before, after)
    for cut in range(start, end, 3):
        marks.write_bytes(after[:cut] + before[cut:])
        again = on(disk)
        entry = again.get(one)
        assert entry is not None and entry.mark is Mark.ACCEPTED and again.troubles() == (), cut
        again.write(one, Note(mark=Mark.PREPARED, data={"work": "again"}))
        told = on(disk).get(one)
        assert told is not None and told.data[Mark.PREPARED] == {"work": "again"}, cut
        marks.write_bytes(before)


def _difference(before: bytes, after: bytes) -> tuple[int, int]:
    different = [n for n in range(len(before)) if before[n] != after[n]]
    return different[0] + 1, different[-1]


def test_a_crash_before_the_first_record_leaves_nothing(disk: Path) -> None:
    (disk / str(identity())).mkdir(parents=True)
    (disk / str(identity()) / "marks").write_bytes(bytes(4096))
    journal = on(disk)
    assert journal.entries() == [] and journal.troubles() == () and not (disk / str(identity())).exists()
    accept(journal)


SPOILT = b"noodle"


def _damage(disk: Path, one: AttemptId) -> None:
    """The second record in place, as a bad sector does."""
    marks = disk / str(one) / "marks"
    first = durable.frame_in(marks.read_bytes(), 0)
    assert first is not None
    with marks.open("r+b") as file:
        file.seek(durable.HEADER + len(first) + durable.HEADER + 1)
        file.write(SPOILT)


def test_damage_in_the_middle(disk: Path) -> None:
    """What can be read is used, the attempt is marked as damaged, no number is used twice; told, and kept."""
    journal = on(disk)
    one, well = accept(journal), accept(journal, identity(run="r-well"))
    journal.write(one, Note(mark=Mark.PREPARED, data={"x": 1}, say=(Marked(mark=Mark.PREPARED),)))
    journal.write(one, Note(mark=Mark.SPAWNED, say=(Marked(mark=Mark.SPAWNED),)))
    _damage(disk, one)
    again = on(disk)
    entry, other = again.get(one), again.get(well)
    assert entry is not None and entry.damaged and entry.mark is Mark.ACCEPTED and entry.last_event > 1_000
    assert other is not None and not other.damaged
    assert len(again.troubles()) == 1 and str(one) in again.troubles()[0]
    assert SPOILT in next((disk / ".damaged").iterdir()).read_bytes()
    third = on(disk)
    assert third.get(one) == entry and third.troubles() == ()


def test_a_journal_of_before_compression_is_read_and_continued(disk: Path) -> None:
    """Layout 4: records as they are. What follows is compressed; receipts come back byte for byte."""
    journal = on(disk)
    one = accept(journal)
    journal.write(one, Note(mark=Mark.PUSHED, data={"x": "y" * 300}))
    sealed = job_of().signed(COORDINATOR)
    assert journal.seal(one, sealed.model_dump_json(), sealed.digest(), None)
    marks, records = disk / str(one) / "marks", JournalFiles(disk).read(str(one))
    plain = [*records[:2], b"=" + sealed.model_dump_json().encode(), *records[2:]]
    frames = b"".join(durable.frame_record(record) for record in plain)
    marks.write_bytes(frames + bytes(4096))
    again = on(disk)
    assert again.get(one) == journal.get(one) and not again.troubles()
    assert again.receipt(one) == sealed.model_dump_json()
    again.write(one, Note(mark=Mark.ACKNOWLEDGED, data={"why": "z" * 300}))
    again.write(one, Note(cleaned=True))
    assert os.path.getsize(marks) < len(frames) + 300
    third = on(disk)
    assert third.get(one) == again.get(one) and third.receipt(one) == sealed.model_dump_json()
    assert third.job(one) == journal.job(one)


def test_damage_after_the_receipt_was_sealed(disk: Path) -> None:
    """The sealed receipt stands: a second one for the same lease would be a lie."""
    journal = on(disk)
    one = accept(journal)
    journal.write(one, Note(mark=Mark.PUSHED, data={"x": 1}))
    sealed = job_of().signed(COORDINATOR)
    assert journal.seal(one, sealed.model_dump_json(), sealed.digest(), None)
    _damage(disk, one)
    again = on(disk)
    entry = again.get(one)
    assert entry is not None and (entry.mark, entry.receipt) == (Mark.RECEIPTED, sealed.digest())
    assert again.last_receipt() == sealed.digest()


def test_an_entry_of_which_nothing_can_be_read(disk: Path) -> None:
    journal = on(disk)
    one = accept(journal)
    (disk / str(one) / "marks").write_bytes(b"rubbish" * 100)
    (disk / str(one) / "work").mkdir()  # so it had begun
    (disk / "not-an-attempt").mkdir()
    again = on(disk)
    assert again.entries() == [] and str(one) in again.lost()
    assert len(again.troubles()) == 2
    assert accept(again) == one  # the node continues


def test_a_damaged_node_state(disk: Path) -> None:
    journal = on(disk)
    accept(journal, epoch=3)
    (disk / "node-state.json").write_text("{")
    again = on(disk)
    assert again.node() == JournalState(epoch=3) and len(again.troubles()) == 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    place = tmp_path / "small"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=3m none {place} 2>/dev/null") != 0:
        pytest.skip("kernel lacks tmpfs mounts here")
    yield place
    os.system(f"umount {place}")


def _fill(place: Path) -> None:
    with pytest.raises(OSError, match="No space"), (place / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def _goes_on(place: Path, one: AttemptId) -> None:
    """To its end, with large marks and a large receipt."""
    journal = on(place / "journal")
    for mark in (Mark.EXITED, Mark.PUSHED):
        journal.write(one, Note(mark=mark, data={"x": noise(40_000)}, say=(Marked(mark=mark),)))
    assert journal.seal(one, noise(250_000), "1" * 64, None)
    again = on(place / "journal")
    entry = again.get(one)
    assert entry is not None and entry.mark is Mark.RECEIPTED and again.receipt(one) == noise(250_000)


@pytest.mark.parametrize("full", ["before the damage is found", "after it was repaired"])
def test_a_damaged_entry_has_room_for_its_end_on_a_full_disk(small: Path, full: str) -> None:
    journal = on(small / "journal")
    one = accept(journal)
    journal.write(one, Note(mark=Mark.PREPARED, data={"x": 1}))
    journal.write(one, Note(mark=Mark.SPAWNED))
    _damage(small / "journal", one)
    first = full == "before the damage is found"
    if first:
        _fill(small)
    again = on(small / "journal")
    entry = again.get(one)
    assert entry is not None and entry.damaged and entry.mark is Mark.ACCEPTED
    assert ("not stored: the disk is full" in again.troubles()[0]) is first
    if not first:
        _fill(small)
    _goes_on(small, one)


def test_a_restarted_node_agent_has_the_room_that_was_kept(small: Path) -> None:
    one = accept(on(small / "journal"))
    _fill(small)
    _goes_on(small, one)


def test_a_full_disk(small: Path) -> None:
    """With no room for one more byte the marks and the receipt of what was accepted still fit."""
    place = small
    journal = on(place / "journal")
    one = accept(journal)
    _fill(place)
    with pytest.raises(DiskFull):
        accept(journal, identity(run="r-other"))
    assert not (place / "journal" / "r-other.1.1").exists()
    with pytest.raises(DiskFull):
        journal.write(one, Note(say=(Finding(level="info", text="p"),), lossy=True))
    for mark in (Mark.PREPARED, Mark.EXITED, Mark.PUSHED):
        journal.write(one, Note(mark=mark, data={"x": noise(30_000)}, say=(Marked(mark=mark),)))
    assert journal.seal(one, noise(140_000), "1" * 64, None)
    entry = on(place / "journal").get(one)
    assert entry is not None and entry.mark is Mark.RECEIPTED
    assert on(place / "journal").receipt(one) == noise(140_000)
