"""What is not as we left it in a folder of an attempt that is over never becomes another attempt's."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.attempt.plans import KEPT
from node_agent.attempt.ports import DiskFull
from node_agent.attempt.records import Note
from node_agent.journal.journal import Journal
from node_agent.journal.shelf import MARKS, FileShelf
from node_agent.journal.spares import TOGETHER
from node_agent.shim.taken import SPAWNED, taken_by
from node_agent.wire.event import Marked
from node_agent.wire.identity import AttemptId
from node_agent.wire.marks import Mark
from tests.contract.test_journal import accept, on
from tests.contract.test_journal_over import finish, folders, runs_of
from tests.unit.node_agent.stage import identity

EARLIER = b'{"boot":"b","pid":7,"start":9}'
Fouled = Callable[[Journal, AttemptId], None]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def fouled_runs(journal: Journal, foul: Fouled, count: int = TOGETHER) -> list[AttemptId]:
    """Runs to whose files something was done while they ran."""
    made = []
    for number in range(count):
        made.append(accept(journal, identity(run=f"r-many{number}")))
        foul(journal, made[-1])
        finish(journal, made[-1])
    return made


def an_output(journal: Journal, one: AttemptId) -> None:
    """As a rejected attempt keeps it."""
    (journal.folder(one) / "err").touch(0o600)
    (journal.folder(one) / "err").write_text("what it said")


def an_earlier_shim(journal: Journal, one: AttemptId) -> None:
    """Its record names no folder: it would do for any."""
    (journal.folder(one) / SPAWNED).touch(0o600)
    (journal.folder(one) / SPAWNED).write_bytes(EARLIER)


def another_record(journal: Journal, one: AttemptId) -> None:
    """In the place of ours."""
    data = (journal.folder(one) / MARKS).read_bytes()
    (journal.folder(one) / MARKS).write_bytes(data.replace(b"accepted", b"acc3pted"))


@pytest.mark.parametrize("foul", [an_output, an_earlier_shim, another_record])
def test_such_a_folder_stays_what_it_is(disk: Path, foul: Fouled) -> None:
    journal = on(disk)
    made = fouled_runs(journal, foul)
    taken = accept(journal, identity(run="r-next"))
    assert folders(disk) == {str(taken), *map(str, made)} and [*journal.folder(taken).iterdir()] == [
        journal.folder(taken) / MARKS
    ]
    if foul is an_output:
        assert [(disk / str(one) / "err").read_text() for one in made] == ["what it said"] * TOGETHER


def test_what_was_begun_by_a_node_agent_before_keeps_its_folder(disk: Path) -> None:
    """Perhaps by another version of it, under a shim that still ran."""
    made = [accept(on(disk), identity(run=f"r-many{number}")) for number in range(TOGETHER)]
    again = on(disk)
    for one in made:
        finish(again, one)
    taken = accept(again, identity(run="r-next"))
    assert folders(disk) == {str(taken), *map(str, made)}


@pytest.mark.parametrize("foul", [an_output, an_earlier_shim])
def test_what_was_done_to_a_folder_that_waits(disk: Path, foul: Fouled) -> None:
    journal = on(disk)
    for one in runs_of(journal, TOGETHER):
        foul(journal, one)
    taken = accept(journal, identity(run="r-next"))
    assert taken_by(str(journal.folder(taken))) is None and not (journal.folder(taken) / "err").exists()
    assert folders(disk) == {str(taken)} and len(on(disk).entries()) == TOGETHER + 1


def test_a_record_whose_write_failed_is_not_found_by_the_next_attempt(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole, behind what counts, and begins where the next attempt's might end: its receipt, too."""
    journal = on(disk)

    def failing(journal: Journal, one: AttemptId) -> None:
        journal.write(one, Note(mark=Mark.PUSHED, say=(Marked(mark=Mark.PUSHED),)))
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", _raises(errno.EIO))
            with pytest.raises(OSError):
                journal.seal(one, f"receipt of {one}", "d", journal.last_receipt())
        assert journal.seal(one, f"receipt of {one}", str(one), journal.last_receipt())
        journal.write(one, Note(mark=Mark.ACKNOWLEDGED, lazy=True))
        journal.write(one, Note(cleaned=True, lazy=True))

    for number in range(TOGETHER):
        failing(journal, accept(journal, identity(run=f"r-many{number}")))
    assert len(folders(disk)) == TOGETHER
    accept(journal, identity(run="r-next"))
    assert len(folders(disk)) == TOGETHER + 1


def test_a_folder_whose_new_name_is_not_durable_is_nobodys(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused for want of space is not begun by the next node agent."""
    journal = on(disk)
    made = runs_of(journal, TOGETHER)
    with monkeypatch.context() as full:
        full.setattr("node_agent.journal.shelf.sync_folder", _raises(errno.ENOSPC))
        with pytest.raises(DiskFull):
            accept(journal, identity(run="r-next"))
    assert on(disk).live() == [] and len(on(disk).entries()) == len(made)
    with monkeypatch.context() as broken:
        broken.setattr("node_agent.journal.shelf.sync_folder", _raises(errno.EIO, once=True))
        taken = accept(journal, identity(run="r-next"))
    assert on(disk).get(taken) == journal.get(taken) and on(disk).troubles() == ()


def test_after_a_sync_that_failed_no_folder_is_given_away(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one succeeds and says nothing of what is lost."""
    journal = on(disk)
    made = runs_of(journal, TOGETHER - 1)
    one = accept(journal, identity(run="r-last"))
    with monkeypatch.context() as broken:
        broken.setattr("node_agent.journal.archive.os.fdatasync", _raises(errno.EIO, only=".over"))
        finish(journal, one)
    more = runs_of(journal, TOGETHER, "r-more")
    assert folders(disk) == {str(one) for one in (*made, one, *more)}


def test_nothing_is_erased_before_the_records_of_a_process_before_are_durable(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs_of(on(disk), TOGETHER - 1)
    with monkeypatch.context() as broken:
        broken.setattr("node_agent.journal.archive.os.fdatasync", _raises(errno.EIO, only=".over"))
        taken = accept(on(disk), identity(run="r-next"))
    assert folders(disk) == {str(one) for one in (*made, taken)}
    accept(on(disk), identity(run="r-last"))
    assert folders(disk) == {str(taken), "r-last.1.1"}


def test_who_is_forgotten_before_the_first_attempt_does_not_come_back(disk: Path) -> None:
    made = runs_of(on(disk), TOGETHER)
    journal = on(disk)
    journal.forget(made[0])
    assert {entry.identity for entry in on(disk).entries()} == set(made[1:])
    assert str(made[0]) not in folders(disk)


def test_what_an_agent_makes_of_its_outputs_is_no_hindrance(disk: Path) -> None:
    journal = on(disk)
    one = accept(journal)
    folder = journal.folder(one)
    (folder / "out").mkdir()
    (folder / "out" / "deep").write_text("x")
    (folder / "err").touch(0o400)
    (folder / "task").symlink_to("/etc/passwd")
    os.mkfifo(folder / "err.shown")
    journal.drop(one, KEPT)
    assert {path.name for path in folder.iterdir()} == {MARKS}


def test_a_folder_that_goes_while_another_process_looks(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = on(disk)
    one, other = accept(journal), accept(journal, identity(run="r-other"))
    looked = os.scandir(disk)
    entries = [*looked]
    (disk / str(one)).rename(disk.parent / "elsewhere")
    monkeypatch.setattr("node_agent.journal.shelf.os.scandir", lambda path: entries)
    assert FileShelf(disk).names() == [str(other)]


def _raises(number: int, once: bool = False, only: str = "") -> Callable[..., None]:
    left = [1]
    real = os.fdatasync

    def call(what: int | str | Path) -> None:
        if only and isinstance(what, int) and f"/{only}/" not in os.readlink(f"/proc/self/fd/{what}"):
            real(what)
            return
        if once and not left:
            return
        left.clear()
        raise OSError(number, os.strerror(number))

    return call
