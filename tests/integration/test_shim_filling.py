"""What a phase may have on the disk: looked at while it runs, and when it has ended by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.shim.limits import CALM_MS, DISK, LOOK_MS, Filling, measure_used
from node_agent.shim.spool import PhaseLimits, StepEndedBy
from tests.integration.shim_phases import Phases, phases_in

MB = 1 << 20
FILL = """
import os, sys, time
for number in range(int(sys.argv[1])):
    with open(f"f{number}", "wb") as file:
        file.write(os.urandom(1 << 20) * 8)
        file.flush()
        os.fsync(file.fileno())
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


def test_who_fills_the_disk_is_ended(phases: Phases) -> None:
    done, _ = phases.one(sys.executable, "-c", FILL, "16", "60", limits=PhaseLimits(disk_bytes=64 * MB))
    assert (done.ended_by, done.exec_error) == (StepEndedBy.DISK, None)


def test_who_ends_by_itself_is_over_its_limit_all_the_same(phases: Phases) -> None:
    done, _ = phases.one(sys.executable, "-c", FILL, "12", "1.5", limits=PhaseLimits(disk_bytes=90 * MB))
    assert done.ended_by is StepEndedBy.DISK


def test_who_stays_below_is_let_be(phases: Phases) -> None:
    done, _ = phases.one(sys.executable, "-c", FILL, "4", "2", limits=PhaseLimits(disk_bytes=64 * MB))
    assert (done.ended_by, done.exit_code) == (StepEndedBy.NONE, 0)


def test_each_file_counts_once_and_what_has_no_name_counts(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(os.urandom(MB))
    os.link(tmp_path / "in/a", tmp_path / "b")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "link").symlink_to("/usr")
    assert MB <= measure_used([str(tmp_path)], []) < MB + (64 << 10)
    with (tmp_path / "gone").open("wb") as file:
        file.write(os.urandom(MB))
        file.flush()
        (tmp_path / "gone").unlink()
        assert measure_used([str(tmp_path)], [os.getpid()]) >= 2 * MB


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where another user gets to."""
    with tempfile.TemporaryDirectory(prefix="pcf-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_a_closed_folder_is_opened_when_it_must_be(open_folder: Path) -> None:
    """By whoever the node agent is: a run has the same user where that is no root."""
    closed = open_folder / "closed"
    closed.mkdir()
    (closed / "a").write_bytes(bytes(os.urandom(MB)))
    closed.chmod(0)
    script = (
        f"import os; os.setuid(61302)\nprint(measure_used(['{open_folder}'], []), "
        f"measure_used(['{open_folder}'], [], True))"
    )
    for path in (open_folder, closed):
        os.chown(path, 61_302, 61_302)
    load = f"import sys; sys.path.insert(0, {os.getcwd()!r})\nfrom node_agent.files.walk import walk_tree\n"
    told = subprocess.run(
        [sys.executable, "-c", f"{load}from node_agent.shim.limits import measure_used\n{script}"],
        capture_output=True, text=True, check=True, cwd=open_folder,
    ).stdout.split()  # fmt: skip
    assert int(told[0]) < MB <= int(told[1])


class Disk:
    """Free space and time, moved by hand."""

    now, counts = 0, 0

    def members(self) -> list[tuple[int, int]]:
        self.counts += 1
        return []


def test_nothing_is_counted_while_the_disk_does_not_fall(tmp_path: Path) -> None:
    disk, nowhere = Disk(), str(tmp_path / "none")  # the free space of a real disk is others' to change
    held = Filling({"disk_bytes": 1 << 50}, [nowhere], disk.members, lambda: disk.now)
    held.start()
    for second in range(CALM_MS // LOOK_MS):
        disk.now = second * LOOK_MS
        assert not held.over()
    assert disk.counts == 0
    disk.now = CALM_MS
    assert not held.over() and disk.counts == 1
    assert not held.ended() and disk.counts == 2
    assert not Filling({}, [nowhere], disk.members, lambda: disk.now).over() and DISK == StepEndedBy.DISK
