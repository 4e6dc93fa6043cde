"""A full disk swallows no end of a phase, lets every stop arrive, and starts nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.shim import shim
from node_agent.shim.spool import NotStarted, PhaseEnd, RunnerError
from tests.integration.shim_phases import phases_in

MOUNTS = os.geteuid() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> None:
    with open(disk / "ballast", "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.skipif(not MOUNTS, reason="not root")
def test_a_full_disk_does_not_swallow_the_end(small_disk: Path) -> None:
    """The agent fills the disk to the last byte; its end is recorded all the same, in full."""
    for phases in phases_in(small_disk):
        greedy = "cat /dev/zero >ballast 2>/dev/null; echo more && exit 1; exit 9"
        folder = phases.start(["sh", "-c", greedy], ["sh", "-c", "exit 4"], go_on=True)
        record = phases.finish(folder)
        assert os.statvfs(small_disk).f_bavail == 0
        assert [step.exit_code for step in record.steps] == [9, 4]
        assert record.steps[0].out_bytes == 0


@pytest.mark.skipif(not MOUNTS, reason="not root")
def test_a_stop_arrives_on_a_full_disk(small_disk: Path) -> None:
    for phases in phases_in(small_disk):
        folder = phases.start(["sleep", "60"])
        fill(small_disk)
        phases.runner.stop(folder, "x" * 8000)
        assert phases.finish(folder).ended is PhaseEnd.STOPPED
        assert not [p for p in folder.iterdir() if p.name.startswith(shim.STOP)]


@pytest.mark.skipif(not MOUNTS, reason="not root")
def test_nothing_starts_on_a_full_disk(small_disk: Path) -> None:
    for phases in phases_in(small_disk):
        folder, plan = phases.plan(["sh", "-c", "echo ran >/dev/shm/$PANCODE_ATTEMPT"])
        other, later = phases.plan(["true"])
        phases.runner.prepare(other, later)
        fill(small_disk)
        for where, what in ((folder, plan), (other, later)):
            with pytest.raises(RunnerError) as caught:
                phases.runner.start(where, what)
            assert caught.value.disk_full, caught.value
            assert phases.runner.look(where) == NotStarted()
        (small_disk / "ballast").unlink()
        phases.runner.start(other, later)
        assert phases.finish(other).ended is PhaseEnd.DONE
        assert not (Path("/dev/shm") / phases.markers[0]).exists()
