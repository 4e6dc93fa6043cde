"""What attempts that share a journal do not do to each other, and what of an attempt's folder is not its."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from node_agent.attempt.journal import Journal
from node_agent.attempt.records import Note
from node_agent.journal.storage import JournalFiles
from node_agent.wire.identity import AttemptId, Mark
from tests.contract.test_journal import accept, on, say
from tests.fakes.node import MemoryClock
from tests.unit.node_agent.stage import identity


def test_what_was_dropped_holds_nothing(tmp_path: Path) -> None:
    """A link that an agent left goes, and not what it leads to."""
    disk = tmp_path / "journal"
    journal = on(disk)
    one = accept(journal)
    folder, elsewhere = journal.folder(one), tmp_path / "elsewhere"
    for path in (folder / "out", folder / "kept", elsewhere):
        path.write_bytes(b"words")
    (folder / "err").symlink_to(elsewhere)
    for _ in range(2):
        journal.drop(one, ("out", "err", "task"))
    assert not any(os.path.lexists(folder / name) for name in ("out", "err"))
    assert (folder / "kept").read_bytes() == elsewhere.read_bytes() == b"words"
    assert on(disk).get(one) == journal.get(one)


class SlowShelf(JournalFiles):
    """A disk that takes its time with one entry."""

    def __init__(self, root: Path, slow: AttemptId) -> None:
        super().__init__(root)
        self.slow, self.begun, self.go_on = str(slow), threading.Event(), threading.Event()

    def create(self, name: str, record: bytes) -> None:
        self._wait(name)
        super().create(name, record)

    def seal(self, name: str, receipt: bytes, record: bytes) -> None:
        self._wait(name)
        super().seal(name, receipt, record)

    def _wait(self, name: str) -> None:
        if name == self.slow:
            self.begun.set()
            assert self.go_on.wait(60)


@pytest.mark.parametrize("what", ["accept", "seal"])
def test_nobody_waits_for_the_disk_of_another(tmp_path: Path, what: str) -> None:
    slow, other = identity("r-aaaa"), identity("r-bbbb")
    disk = tmp_path / "journal"
    shelf = SlowShelf(disk, slow)
    journal = Journal(shelf, say, MemoryClock())
    accept(journal, other)
    if what == "seal":
        shelf.go_on.set()
        accept(journal, slow)
        shelf.go_on.clear()
        shelf.begun.clear()
    does = {"accept": lambda: accept(journal, slow), "seal": lambda: journal.seal(slow, "{}", "d", None)}
    thread = threading.Thread(target=does[what])
    thread.start()
    assert shelf.begun.wait(60)
    assert journal.write(other, Note(mark=Mark.PREPARED)).mark is Mark.PREPARED
    assert [entry.identity for entry in journal.live()][:1] == [other] and journal.last_receipt() is None
    shelf.go_on.set()
    thread.join()
    assert {str(entry.identity) for entry in on(disk).entries()} == {str(slow), str(other)}
    assert on(disk).last_receipt() == ("d" if what == "seal" else None)
