"""A gate's program that is nowhere is told before the agent; what the agent may write is not looked for. And
the snapshot of a job that waits for a slot stays until it has begun, or is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.attempt.ports import LinkDown
from node_agent.wire.git import snap_ref
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Gate, Job, Workspace
from node_agent.workspace.git import NodeGit
from node_agent.workspace.workspaces import Workspaces, find_absent_programs
from tests.unit.node_agent.stage import identity, job_of


@pytest.mark.parametrize(
    ("program", "is_absent"),
    [
        ("tool", False),
        ("toool", True),
        ("/usr/bin/env", False),
        ("/usr/bin/envv", True),
        (".venv/bin/pytest", False),
        ("./.venv/bin/pytset", True),
        ("./to-be-written.sh", False),
        ("build/app", False),
    ],
)
def test_each_kind_of_name(tmp_path: Path, program: str, is_absent: bool) -> None:
    for name in ("bin/tool", "tree/.venv/bin/pytest"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch(0o755)
    job = job_of(gates=(Gate(name="g", argv=(program, "-q")),), setup=(("true",),), cache=(".venv",))
    found = find_absent_programs(job, tmp_path / "tree", str(tmp_path / "bin"))
    assert found == ((program,) if is_absent else ())


TREE = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
COMMIT = TREE + b"author a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nsnapshot\n"
LONG_MS = 100 * 24 * 3_600_000


class OneSnapshot:
    """A depot that has one commit without files for every run. `down`: it cannot be reached."""

    def __init__(self, at: Path) -> None:
        self.down = False
        self.snapshot = self._made(at)

    def _made(self, at: Path) -> str:
        at.mkdir(parents=True, exist_ok=True)
        git = NodeGit(at)
        if not (at / "HEAD").exists():
            git.must("init", "-q", "--bare", "--template=")
        git.must("hash-object", "-t", "tree", "-w", "--stdin", stdin=b"")
        return git.must("hash-object", "-t", "commit", "-w", "--stdin", stdin=COMMIT).out.decode().strip()

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        if self.down:
            raise LinkDown("no link")
        NodeGit(repository).must("update-ref", ref, self._made(repository))

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        raise AssertionError("nothing is delivered here")


def jobs(depot: OneSnapshot, leases: int) -> list[Job]:
    git = Workspace(kind="git", repo="repo-1", base=depot.snapshot, snapshot=depot.snapshot)
    return [job_of(identity=identity(lease=number), workspace=git) for number in range(1, leases + 1)]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_snapshot_of_a_job_that_waits_is_not_forgotten(tmp_path: Path, restarted: bool) -> None:
    depot = OneSnapshot(tmp_path / "depot")
    spaces = Workspaces(tmp_path / "node", depot)
    first, second = jobs(depot, 2)
    for job in (first, second):
        spaces.fetch(job.identity, job.workspace)
    if restarted:
        spaces = Workspaces(tmp_path / "node", depot, waiting=[second])
    spaces.remove(first.identity, first.workspace)
    spaces.trim_mirrors(LONG_MS * 1_000)
    mirror = tmp_path / "node" / "mirrors" / "repo-1"
    NodeGit(mirror).must("pack-refs", "--all")
    depot.down = True
    assert spaces.prepare(second.identity, second.workspace).is_dir(), "nothing of the coordinator is needed"
    spaces.remove(second.identity, second.workspace)
    assert not NodeGit(mirror).ask("rev-parse", "-q", "--verify", snap_ref(second.identity.run)).ok
    spaces.trim_mirrors(LONG_MS * 1_000)
    assert not mirror.exists(), "and with the last one it goes"


def test_what_could_not_be_fetched_keeps_nothing(tmp_path: Path) -> None:
    depot = OneSnapshot(tmp_path / "depot")
    spaces = Workspaces(tmp_path / "node", depot)
    first, second = jobs(depot, 2)
    spaces.fetch(first.identity, first.workspace)
    (mirror,) = [path for path in (tmp_path / "node" / "mirrors").iterdir() if path.is_dir()]
    NodeGit(mirror).must("update-ref", "-d", snap_ref(first.identity.run))
    depot.down = True
    with pytest.raises(LinkDown):
        spaces.fetch(second.identity, second.workspace)
    spaces.remove(first.identity, first.workspace)
    spaces.trim_mirrors(LONG_MS * 1_000)
    assert not mirror.exists()
