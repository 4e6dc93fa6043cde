"""What the journal keeps of attempts that are over, whose folders serve others: all, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from node_agent.attempt.plans import GATES_LOG, KEPT, SETUP_LOG, SHOWN
from node_agent.attempt.procedure.desk import digest_of
from node_agent.attempt.records import JournalError, Note
from node_agent.journal import archive
from node_agent.journal.journal import Journal
from node_agent.journal.shelf import MARKS
from node_agent.journal.spares import FILES, TOGETHER
from node_agent.shim.shim import PLAN, RECORDS
from node_agent.shim.taken import SPAWNED
from node_agent.wire.event import Marked
from node_agent.wire.identity import AttemptId
from node_agent.wire.marks import Mark
from tests.contract.test_journal import accept, on
from tests.unit.node_agent.stage import identity, order_of


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def finish(journal: Journal, one: AttemptId) -> None:
    """To its end and clean-up, as a plain run."""
    (journal.folder(one) / "out").touch(0o600)
    journal.write(one, Note(mark=Mark.PUSHED, say=(Marked(mark=Mark.PUSHED),)))
    assert journal.seal(one, f"receipt of {one}", digest_of(str(one)), journal.last_receipt())
    journal.write(one, Note(mark=Mark.ACKNOWLEDGED, lazy=True))
    journal.write(one, Note(cleaned=True, lazy=True))


def runs_of(journal: Journal, count: int, prefix: str = "r-many") -> list[AttemptId]:
    """So many attempts, one after the other, to their ends."""
    made: list[AttemptId] = []
    for number in range(count):
        made.append(accept(journal, identity(run=f"{prefix}{number}")))
        finish(journal, made[-1])
    return made


def folders(disk: Path) -> set[str]:
    return {one.name for one in disk.iterdir() if one.is_dir() and not one.name.startswith(".")}


def test_an_attempt_that_is_over_leaves_its_folder_to_another(disk: Path) -> None:
    """All that it told stays, across a restart too; the next one finds nothing of it."""
    journal = on(disk)
    made = runs_of(journal, 3 * TOGETHER)
    assert len(folders(disk)) < 2 * TOGETHER, "most of them have served again"
    entries = journal.entries()
    events = [journal.events(one, 0) for one in made]
    again = on(disk)
    assert again.entries() == entries and again.troubles() == () and again.live() == []
    assert [again.events(one, 0) for one in made] == events and again.last_receipt() == digest_of(
        str(made[-1])
    )
    for one in made:
        assert again.receipt(one) == f"receipt of {one}" and again.order(one) == order_of(identity=one)
        with pytest.raises(JournalError):
            again.write(one, Note(say=(Marked(mark=Mark.PUSHED),)))
    accept(again, identity(run="r-after"))
    assert folders(disk) == {"r-after.1.1"}, "of a restart before nothing is used, and nothing is left"
    assert len(on(disk).entries()) == len(made) + 1


def test_a_used_folder_begins_with_the_new_record_alone(disk: Path) -> None:
    """Whatever stood behind, also where a record of before would begin exactly where the new one ends."""
    journal = on(disk)
    made = runs_of(journal, TOGETHER)
    taken = accept(journal, identity(run="r-many9"))
    assert folders(disk) == {str(taken), *map(str, made[:-1])}
    entry = on(disk).get(taken)
    assert entry is not None and entry == journal.get(taken) and entry.mark is Mark.ACCEPTED
    assert on(disk).receipt(taken) is None and on(disk).troubles() == ()


def test_a_crash_while_a_folder_is_taken_over(disk: Path) -> None:
    """The new record is there and not the new name: it was never accepted, and nothing of it is left."""
    journal = on(disk)
    made = runs_of(journal, TOGETHER)
    taken = accept(journal, identity(run="r-many9"))
    (disk / str(taken)).rename(disk / str(made[-1]))
    again = on(disk)
    assert again.get(taken) is None and len(again.entries()) == TOGETHER and again.troubles() == ()
    assert again.receipt(made[-1]) == f"receipt of {made[-1]}"
    assert accept(again, taken) == taken and on(disk).get(taken) == again.get(taken)


def test_what_was_put_away_and_not_synced_still_has_its_folder(disk: Path) -> None:
    """A power cut takes the end of the file of those that are over: their folders were given to nobody."""
    journal = on(disk)
    made = runs_of(journal, 2 * TOGETHER - 1, "r-few")
    (over,) = (disk / ".over").iterdir()
    data = over.read_bytes()
    over.write_bytes(data[: len(data) - 40])
    again = on(disk)
    assert {entry.identity for entry in again.entries()} == set(made) and again.troubles() == ()
    assert again.receipt(made[-1]) == f"receipt of {made[-1]}"


def test_damage_among_those_that_are_over_is_told(disk: Path) -> None:
    journal = on(disk)
    made = runs_of(journal, 2 * TOGETHER)
    (over,) = (disk / ".over").iterdir()
    over.write_bytes(over.read_bytes().replace(b"receipt of r-many1.", b"receipt of r-x1."))
    again = on(disk)
    assert "cannot be read" in again.troubles()[0] and len(again.troubles()) == 1
    assert {entry.identity for entry in again.entries()} >= set(made[2:])


def test_what_is_forgotten_stays_so(disk: Path) -> None:
    journal = on(disk)
    made = runs_of(journal, 2 * TOGETHER)
    for one in made[:-1]:
        journal.forget(one)
    again = on(disk)
    assert [entry.identity for entry in again.entries()] == [made[-1]]
    assert again.last_receipt() == digest_of(str(made[-1]))
    assert accept(again, made[0]) == made[0] and on(disk).get(made[0]) == again.get(made[0])


def test_the_files_of_those_that_are_over_go_with_the_last_in_them(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SEGMENT_BYTES", 4096)
    journal = on(disk)
    made = runs_of(journal, 3 * TOGETHER)
    assert len([*(disk / ".over").iterdir()]) > 2
    for one in made:
        journal.forget(one)
    assert len([*(disk / ".over").iterdir()]) == 1
    assert on(disk).entries() == [] and on(disk).troubles() == ()


def test_a_free_folder_that_somebody_took_away_is_not_missed(disk: Path) -> None:
    journal = on(disk)
    for one in runs_of(journal, TOGETHER):
        shutil.rmtree(disk / str(one))
    taken = accept(journal, identity(run="r-many9"))
    assert on(disk).get(taken) == journal.get(taken) and len(on(disk).entries()) == TOGETHER + 1


@pytest.mark.parametrize("how", ["rb", "ab"])
def test_a_folder_of_which_somebody_has_a_file_open_serves_nobody(disk: Path, how: str) -> None:
    """Who outlived the run would write into the log of another, and a slow link send that as this one's."""
    journal = on(disk)
    made = [accept(journal, identity(run=f"r-many{number}")) for number in range(TOGETHER)]
    for one in made:
        finish(journal, one)
    with (disk / str(made[-1]) / "out").open(how) as held:
        taken = [accept(journal, identity(run=f"r-next{number}")) for number in range(TOGETHER)]
        inodes = {
            (disk / str(one) / "out").stat().st_ino for one in taken if (disk / str(one) / "out").exists()
        }
        assert len(inodes) == TOGETHER - 1 and os.fstat(held.fileno()).st_ino not in inodes
    assert [on(disk).get(one) for one in taken] == [journal.get(one) for one in taken]


@pytest.mark.parametrize("more", ["gateway/", "events", "link", "mode"])
def test_a_folder_with_more_than_a_plain_run_has_is_kept(disk: Path, more: str) -> None:
    """Also one whose files are not as we make them, or lie elsewhere as well."""
    journal = on(disk)
    made = []
    for number in range(TOGETHER):
        made.append(accept(journal, identity(run=f"r-many{number}")))
        folder = journal.folder(made[-1])
        if more == "link":
            (disk.parent / f"elsewhere{number}").write_text("mine")
            (folder / "err").hardlink_to(disk.parent / f"elsewhere{number}")
        elif more == "mode":
            (folder / "err").touch(0o640)
        elif more.endswith("/"):
            (folder / more).mkdir()
        else:
            (folder / more).touch()
        finish(journal, made[-1])
    accept(journal, identity(run="r-next"))
    assert folders(disk) == {"r-next.1.1", *map(str, made)}
    assert on(disk).entries() == journal.entries()


def test_what_serves_again_is_what_a_run_leaves() -> None:
    left = {MARKS, RECORDS, PLAN, SPAWNED, *KEPT} - {
        f"{log}{end}" for log in (SETUP_LOG, GATES_LOG) for end in ("", SHOWN)
    }
    assert left == FILES


def test_a_file_before_the_last_that_was_cut_short_is_told(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was synced before the next one was begun: the end of the last one alone may be missing."""
    monkeypatch.setattr(archive, "SEGMENT_BYTES", 4096)
    runs_of(on(disk), 3 * TOGETHER)
    first, *_ = sorted((disk / ".over").iterdir())
    first.write_bytes(first.read_bytes()[:-40])
    (disk / ".over" / "1").write_text("somebody's")
    (told,) = on(disk).troubles()
    assert first.name in told
