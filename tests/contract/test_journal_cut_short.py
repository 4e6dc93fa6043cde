"""The node agent ends, or the disk says no, at any call to the system: what was told stays, each its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.context import digest_of
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import DiskFull
from node_agent.attempt.records import Note
from node_agent.wire.event import Marked
from node_agent.wire.identity import AttemptId, Mark
from tests.contract.test_journal import accept, on
from tests.unit.node_agent.stage import identity, job_of

CALLS = (
    *("open", "pwrite", "ftruncate", "truncate", "posix_fallocate", "mkdir", "rename", "link", "unlink"),
    *("fsync", "fdatasync"),
)
BEFORE, RUNS = 1, 2


class Ended(BaseException):
    """As by SIGKILL: nothing of ours continues."""


class Fault:
    """Counts calls to the system and fails the one with that number; `after`: it was done all the same."""

    def __init__(
        self, patch: pytest.MonkeyPatch, at: int, how: Callable[[], BaseException], after: bool
    ) -> None:
        self.count, self._at, self._how, self._after = 0, at, how, after
        for name in CALLS:
            patch.setattr(os, name, self._around(getattr(os, name)))

    def _around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count != self._at:
                return real(*args, **options)
            if self._after:
                with suppress(OSError):
                    real(*args, **options)
            raise self._how()

        return call


def _nothing(file: int) -> None:
    return


class ToolResults:
    """What has returned, attempt by attempt: how far it came, and its receipt."""

    def __init__(self) -> None:
        self.marks: dict[AttemptId, Mark | None] = {}
        self.receipts: dict[AttemptId, str] = {}
        self.refused: set[AttemptId] = set()
        """For want of space, before they were accepted."""

    def run(self, journal: Journal, one: AttemptId) -> None:
        def to(mark: Mark | None, note: Note) -> None:
            journal.write(one, note)
            self.marks[one] = mark

        accept(journal, one)
        self.marks[one] = Mark.ACCEPTED
        with open(os.open(journal.folder(one) / "out", os.O_WRONLY | os.O_CREAT, 0o600), "w"):
            pass
        to(Mark.PUSHED, Note(mark=Mark.PUSHED, say=(Marked(mark=Mark.PUSHED),)))
        sealed = f"receipt of {one}"
        assert journal.seal(one, sealed, digest_of(str(one)), journal.last_receipt())
        self.marks[one], self.receipts[one] = Mark.RECEIPTED, sealed
        to(Mark.ACKNOWLEDGED, Note(mark=Mark.ACKNOWLEDGED, lazy=True))
        to(None, Note(cleaned=True, lazy=True))

    def holds(self, journal: Journal) -> None:
        """All that was told is there; what was on the way is there whole or not at all."""
        for one, mark in self.marks.items():
            entry = journal.get(one)
            assert entry is not None and journal.job(one) == job_of(identity=one)
            assert entry.cleaned or mark is not None and entry.mark in (mark, *_next(mark))
            if one in self.receipts:
                assert journal.receipt(one) == self.receipts[one]
            assert all(event.text.startswith(f"{one} ") for event in journal.events(one, 0))
        for entry in journal.entries():
            assert entry.identity not in self.refused
            if entry.identity not in self.marks:
                assert entry.mark is Mark.ACCEPTED and journal.receipt(entry.identity) is None


def _next(mark: Mark) -> tuple[Mark, ...]:
    order = (Mark.ACCEPTED, Mark.PUSHED, Mark.RECEIPTED, Mark.ACKNOWLEDGED)
    return order[order.index(mark) + 1 : order.index(mark) + 2]


def _runs(journal: Journal, told: ToolResults, count: int, prefix: str) -> None:
    for number in range(count):
        told.run(journal, identity(run=f"{prefix}{number}"))


def _begun(disk: Path) -> tuple[Journal, ToolResults]:
    journal, told = on(disk), ToolResults()
    _runs(journal, told, BEFORE, "r-before")
    return journal, told


def _calls(disk: Path) -> range:
    journal, told = _begun(disk)
    with pytest.MonkeyPatch.context() as patch:
        fault = Fault(patch, 0, Ended, after=False)
        _runs(journal, told, RUNS, "r-many")
    assert fault.count > 10 * RUNS
    return range(1, fault.count + 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, _nothing)


@pytest.mark.parametrize("after", [False, True])
def test_ended_at_any_call(tmp_path: Path, after: bool) -> None:
    for at in _calls(tmp_path / "all"):
        disk = tmp_path / f"{at}"
        journal, told = _begun(disk)
        with pytest.MonkeyPatch.context() as patch:
            Fault(patch, at, Ended, after)
            with pytest.raises(Ended):
                _runs(journal, told, RUNS, "r-many")
        again = on(disk)
        told.holds(again)
        assert again.troubles() == (), at
        _runs(again, told, RUNS, "r-more")
        told.holds(on(disk))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("after", [False, True])
def test_refused_at_any_call(tmp_path: Path, number: int, after: bool) -> None:
    """The node agent continues, as its procedure does."""
    for at in _calls(tmp_path / "all"):
        disk = tmp_path / f"{at}"
        journal, told = _begun(disk)
        with pytest.MonkeyPatch.context() as patch:
            Fault(patch, at, lambda: OSError(number, os.strerror(number)), after)
            for name in ("r-many0", "r-many1"):
                one = identity(run=name)
                try:
                    told.run(journal, one)
                except OSError:
                    continue
                except DiskFull:
                    told.refused |= {one} - told.marks.keys()
        told.holds(journal)
        again = on(disk)
        told.holds(again)
        _runs(again, told, RUNS, "r-more")
        told.holds(on(disk))
