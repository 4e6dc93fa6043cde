"""An agent that fills the node's disk: the receipt goes out all the same, and says so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from tests.integration.node.node_world import RUN, NodeWorld, processes_of, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NodeWorld]:
    """The node's home has 24 MB, and nobody else's."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    (tmp_path / "n").mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", tmp_path / "n"], check=False)
    if made.returncode != 0:
        pytest.skip("kernel lacks tmpfs mounts here")
    world = NodeWorld(tmp_path)
    world.begin()
    yield world
    world.end()
    subprocess.run(["umount", "-l", tmp_path / "n"], check=True)


def test_it_fills_its_workspace_and_says_done(world: NodeWorld) -> None:
    job = world.job("#!scripted\ntry fill big.bin\nanswer done", run=RUN)
    claims = world.run(job)
    assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.DISK_FULL), claims.reason
    assert processes_of(job.identity) == []
    until(lambda: not (world.home.root / "work" / str(job.identity)).exists())
    after = world.run(world.job("#!scripted\nwrite a.txt x\nanswer ok", run="r-after"))
    assert after.outcome is Outcome.DONE  # and the node continues


def test_it_fills_the_disk_and_fails(world: NodeWorld) -> None:
    claims = world.run(world.job("#!scripted\nfill big.bin\nwrite a.txt xxxxxxxxx", run="r-fails"))
    assert claims.outcome in (Outcome.ERROR, Outcome.INFRA) and claims.failure is not None


def test_the_disk_is_full_before_a_job_comes(world: NodeWorld) -> None:
    with pytest.raises(OSError), (world.home.root / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    job = world.job("#!scripted\nwrite a.txt x", run="r-full")
    world.coordinator.push(job)
    until(lambda: any(body.kind == "refused" for body in world.coordinator.bodies(job.identity)))
    (world.home.root / "filler").unlink()
    assert world.run(world.job("#!scripted\nanswer ok", run="r-then")).outcome is Outcome.DONE
