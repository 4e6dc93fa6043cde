"""The archive of receipts: a whole line for each, whatever a crash has left of the one before."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import UnavailableError
from pancode.kernel.host.files import FileArchive, make_private, write_durable
from tests.fakes.node.clock import MemoryClock

ONE, TWO = AttemptId.parse("r-0001.1.1"), AttemptId.parse("r-0002.2.3")
DAY_MS = 24 * 3_600_000


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_for_each_in_the_file_of_its_day(tmp_path: Path) -> None:
    clock = MemoryClock()
    archive = FileArchive(tmp_path / "receipts", clock)
    archive.store([(ONE, '{"payload":"a"}')])
    archive.store([(TWO, '{"payload":"b"}')])
    (first,) = (tmp_path / "receipts").iterdir()
    assert first.suffix == ".jsonl" and first.stat().st_mode & 0o777 == 0o600
    assert lines(first) == [
        {"attempt": "r-0001.1.1", "receipt": {"payload": "a"}},
        {"attempt": "r-0002.2.3", "receipt": {"payload": "b"}},
    ]
    clock.ms += DAY_MS
    archive.store([(ONE, "{}")])
    assert len(list((tmp_path / "receipts").iterdir())) == 2 and len(lines(first)) == 2


def test_what_a_crash_has_cut_short_takes_no_later_line_with_it(tmp_path: Path) -> None:
    FileArchive(tmp_path, MemoryClock()).store([(ONE, '{"payload":"a"}')])
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - 5)
    again = FileArchive(tmp_path, MemoryClock())
    again.store([(ONE, '{"payload":"a"}')])
    again.store([(TWO, "{}")])
    cut, *whole = path.read_text().splitlines()
    assert cut.startswith('{"attempt":"r-0001.1.1"') and not cut.endswith("}}")
    assert [json.loads(line)["attempt"] for line in whole] == ["r-0001.1.1", "r-0002.2.3"]


def test_several_are_a_line_each_also_behind_one_that_was_cut_short(tmp_path: Path) -> None:
    FileArchive(tmp_path, MemoryClock()).store([(ONE, "{}"), (TWO, "{}")])
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - 1)
    FileArchive(tmp_path, MemoryClock()).store([(TWO, "{}"), (ONE, "{}")])
    attempts = [json.loads(line)["attempt"] for line in path.read_text().splitlines()]
    assert attempts == ["r-0001.1.1", "r-0002.2.3", "r-0002.2.3", "r-0001.1.1"]


def test_a_folder_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "receipts"
    archive = FileArchive(root, MemoryClock())
    archive.store([(ONE, "{}")])
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match="cannot archive"):
        archive.store([(TWO, "{}")])
    archive.store([(TWO, "{}")])
    (path,) = root.iterdir()
    assert len(lines(path)) == 1


def test_a_folder_and_those_above_it_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        tmp_path.chmod(0o755)
        make_private(tmp_path / "home" / "skills")
        write_durable(tmp_path / "other" / "home" / "file", b"x")
        make_private(tmp_path / "home")
    finally:
        os.umask(before)
    made = ("home", "home/skills", "other", "other/home")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in made] == [0o700] * 4
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755, "what was there stays as it was"
    with pytest.raises(OSError):
        make_private(tmp_path / "other" / "home" / "file")
