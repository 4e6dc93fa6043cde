"""A phase's folder is one shim's alone, and of what an attempt before has left there nothing is believed."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node_agent.files.durable import read_framed, write_framed
from node_agent.shim.taken import SPAWNED, Taken, taken_by

RECORD = b'{"boot":"b","pid":7,"start":9}'
HOLD = (
    "import os, sys; os.lockf(os.open(sys.argv[1], 2), os.F_LOCK, 0); print(1, flush=True); sys.stdin.read()"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "r-first.1.1"
    made.mkdir()
    return made


def take(folder: Path, record: bytes = RECORD) -> Taken:
    taken = Taken.take(str(folder), record)
    assert taken is not None
    return taken


def test_it_is_taken_once(folder: Path) -> None:
    assert taken_by(str(folder)) is None
    taken = take(folder)
    assert taken_by(str(folder)) == (RECORD, taken.salt)
    assert Taken.take(str(folder), b"{}") is None
    assert taken_by(str(folder)) == (RECORD, taken.salt)


def test_who_comes_second_waits_until_the_first_has_said_who_it_is_or_is_gone(folder: Path) -> None:
    (folder / SPAWNED).touch()
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / SPAWNED)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdin and first.stdout and first.stdout.readline() == b"1\n"
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(Taken.take, str(folder), RECORD)
        with pytest.raises(TimeoutError):
            second.result(0.2)
        first.communicate()
        assert second.result(30) is not None


def test_a_folder_of_another_name_is_nobodys(folder: Path, tmp_path: Path) -> None:
    """By the same shim, too, which serves many: not one record of the attempt before can be read."""
    before = take(folder)
    (folder / "records").write_bytes(bytes(100))
    write_framed(folder / "records", b"the end", salt=before.salt)
    after = folder.rename(tmp_path / "r-second.1.1")
    assert taken_by(str(after)) is None
    again = take(after)
    assert taken_by(str(after)) == (RECORD, again.salt)
    assert read_framed(after / "records", salt=before.salt) == b"the end"
    assert read_framed(after / "records", salt=again.salt) is None
    take(after.rename(tmp_path / "r-third.1.1"), b"{}")


def test_what_was_taken_away_is_there_again(folder: Path) -> None:
    taken = take(folder)
    taken.renew()
    (folder / SPAWNED).unlink()
    assert taken_by(str(folder)) is None
    taken.renew()
    assert taken_by(str(folder)) == (RECORD, taken.salt)


def test_a_shim_of_an_earlier_version_has_it(folder: Path) -> None:
    """It wrote its record bare, and what followed without a salt: it outlives an upgrade."""
    (folder / SPAWNED).write_bytes(RECORD)
    assert taken_by(str(folder)) == (RECORD, 0)
    assert Taken.take(str(folder), b"{}") is None


@pytest.mark.parametrize("cut", [1, 17, 18, 40])
def test_a_record_that_was_cut_short_is_none(folder: Path, cut: int) -> None:
    take(folder)
    (folder / SPAWNED).write_bytes((folder / SPAWNED).read_bytes()[:cut])
    assert taken_by(str(folder)) is None
    take(folder)


def test_who_wakes_when_the_folder_serves_another_has_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had opened the file, and slept while the attempt came to its end: nothing is run a second time."""
    after = tmp_path / "r-second.1.1"

    def asleep(fd: int, how: int, length: int) -> None:
        if not after.exists():
            monkeypatch.undo()
            take(folder)
            take(folder.rename(after), b"{}")

    (folder / SPAWNED).touch(0o600)
    monkeypatch.setattr(os, "lockf", asleep)
    assert Taken.take(str(folder), RECORD) is None
    assert (taken_by(str(after)) or (b"", 0))[0] == b"{}"
