"""The promises of pancode.kernel.ports.Epochs, kept in memory and by the file beside the ledger alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pancode.kernel.errors import UnavailableError
from pancode.kernel.host.files import COPIED_S, FileEpochs
from pancode.kernel.ports import Epochs
from tests.fakes.epochs import MemoryEpochs

Open = Callable[[], Epochs]


@pytest.fixture(params=["memory", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """The same disk, as each start of the coordinator finds it."""
    kept = MemoryEpochs()
    return (lambda: kept) if request.param == "memory" else (lambda: FileEpochs(tmp_path / "epoch"))


def test_nothing_is_known_at_first(reopen: Open) -> None:
    assert reopen().last() is None


def test_the_newest_is_known_to_the_next_start(reopen: Open) -> None:
    for epoch in (1, 2, 1_790_000_000):
        reopen().keep(epoch)
        assert reopen().last() == epoch


@pytest.mark.parametrize("text", ["", "seven\n", "-3\n", "0\n", "7 7\n", "7 7 7 7\n"])
def test_a_damaged_file_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "epoch").write_text(text)
    assert FileEpochs(tmp_path / "epoch").last() is None


def test_a_file_that_a_backup_brought_along_tells_nothing(tmp_path: Path) -> None:
    path, saved = tmp_path / "epoch", tmp_path / "saved"
    FileEpochs(path).keep(7)
    written = path.stat().st_mtime - COPIED_S - 1
    os.utime(path, (written, written))
    shutil.copy2(path, saved)
    path.unlink()
    shutil.copy2(saved, path)
    assert path.read_text().startswith("7 ") and FileEpochs(path).last() is None
    FileEpochs(path).keep(9)
    assert FileEpochs(path).last() == 9


@pytest.mark.parametrize(
    ("inode", "later_ns", "last"), [(0, 0, 7), (1, 0, None), (0, 1, None)], ids=["own", "inode", "time"]
)
def test_a_file_whose_change_time_alone_is_new_is_the_own_one(
    tmp_path: Path, inode: int, later_ns: int, last: int | None
) -> None:
    """New permissions, a hard link or a new label change it, too."""
    path = tmp_path / "epoch"
    path.touch()
    state = path.stat()
    written_ns = state.st_mtime_ns - (COPIED_S + 1) * 10**9
    path.write_text(f"7 {state.st_ino + inode} {written_ns + later_ns}\n")
    os.utime(path, ns=(written_ns, written_ns))
    assert FileEpochs(path).last() == last


def test_the_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "epoch").write_text("7\n")
    assert FileEpochs(tmp_path / "epoch").last() == 7


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("in the way of the folder")
    with pytest.raises(UnavailableError, match="epoch"):
        FileEpochs(tmp_path / "full" / "epoch").keep(1)
