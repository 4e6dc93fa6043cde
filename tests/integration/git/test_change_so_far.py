"""The change so far of a run in progress: what its result would have, and nothing of the agent's runs."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from node_agent.attempt.ports import CommitStamp
from node_agent.wire.clock import SystemClock
from node_agent.workspace.change_so_far import MOST_BYTES, MOST_MS, ChangeReader
from node_agent.workspace.folders import WorkspaceFolders
from node_agent.workspace.git import WorkspaceFailure
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.repos import (
    NOW_MS,
    PathTransport,
    Repo,
    attempt,
    fingerprint,
    simple,
    snap,
    workspace_of,
)
from tests.integration.git.traps import Traps

SECRET = "tok-5f1c90aa77d2"


class Bench:
    """A checkout in which an agent works. `notes`: of the newest reading."""

    def __init__(self, tmp_path: Path, depot: Depot) -> None:
        self._path, self.depot = tmp_path, depot
        repo = simple(tmp_path / "project")
        repo.write(".gitignore", "ig/\n")
        repo.commit()
        self.taken = snap(repo, depot)
        self.spaces = Workspaces(tmp_path / "node", PathTransport(depot, self.taken.repo_id))
        self.job, self.reads, self.baseline = workspace_of(self.taken), 0, ""
        self.tree = self.spaces.prepare(attempt(), self.job)
        self.notes: tuple[str, ...] = ()

    def read(self) -> bytes:
        self.reads += 1
        scratch = self._path / f"scratch{self.reads}"
        scratch.mkdir()
        folders = WorkspaceFolders(self._path / "node")
        reader = ChangeReader(folders, {"TOKEN": SECRET}, scratch, SystemClock())
        diff, self.notes = reader.read(attempt(), self.job, self.baseline or None)
        return diff

    def applied(self, diff: bytes) -> str:
        """The tree that git makes of the snapshot with this patch."""
        there = self._path / f"applied{self.reads}"
        repo = Repo(there)
        repo.git("fetch", "-q", str(self.depot.path(self.taken.repo_id)), str(self.taken.snapshot_commit))
        repo.git("checkout", "-q", "--detach", "FETCH_HEAD")
        (self._path / "patch").write_bytes(diff)
        if diff:
            repo.git("apply", "--index", str(self._path / "patch"))
        return repo.git("write-tree").strip()


@pytest.fixture
def bench(tmp_path: Path, depot: Depot) -> Bench:
    return Bench(tmp_path, depot)


def _act(tree: Path, draw: random.Random) -> None:
    """One act of an agent, drawn."""
    name = draw.choice(("f1", "f2", "f3", "new", "dir/deep", "ig/cache", "caf\u00e9 two"))
    path = tree / name
    match draw.randrange(5):
        case 0 if path.is_file() or path.is_symlink():
            path.unlink()
        case 1 if path.is_file() and not path.is_symlink():
            path.chmod(0o755)
        case 2 if not os.path.lexists(path):
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(draw.choice(("f2", "/etc/passwd", "nowhere")))
        case _ if not path.is_symlink():
            path.parent.mkdir(exist_ok=True)
            lines = [f"line {draw.randrange(9)}" for _ in range(draw.randrange(12))]
            path.write_text("\n".join(lines) + "\n" * draw.randrange(2))


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_the_result_would_have(bench: Bench, seed: int) -> None:
    draw = random.Random(seed)
    (bench.tree / "venv.cfg").write_text("of set-up\n")
    bench.baseline = bench.spaces.baseline(attempt(), bench.job)
    agent = Repo(bench.tree, init=False)
    for _ in range(12):
        _act(bench.tree, draw)
        if draw.randrange(4) == 0:
            agent.git("add", "-A")
            agent.git("commit", "-qm", "on the way", "--allow-empty")
    told = bench.applied(bench.read())
    stamp = CommitStamp("result", NOW_MS)
    made = bench.spaces.commit(attempt(), bench.job, stamp, bench.baseline)
    out = Repo(bench.tree.parent / "out.git", init=False)
    wanted = out.git("rev-parse", f"{made.commit or bench.taken.snapshot_commit}^{{tree}}").strip()
    assert told == wanted


def test_a_hostile_checkout_runs_nothing_and_stays_as_it_is(tmp_path: Path, bench: Bench) -> None:
    traps, agent = Traps(tmp_path / "traps"), Repo(bench.tree, init=False)
    traps.arm(bench.spaces.git_dir(attempt()), agent)
    agent.git("config", "core.worktree", "/")
    (bench.tree / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    (bench.tree / "f1").write_text(f"key = '{SECRET}'\n")
    (bench.tree / "out").symlink_to("/etc")
    closed = bench.tree / "closed"
    closed.mkdir()
    closed.chmod(0)
    before = fingerprint(bench.tree)
    diff = bench.read()
    assert traps.sprung() == [] and fingerprint(bench.tree) == before
    assert stat.S_IMODE(closed.stat().st_mode) == 0
    assert SECRET.encode() not in diff and b"+key = '" in diff and b"root:" not in diff
    closed.chmod(0o700)


def test_what_is_too_large_is_named(bench: Bench) -> None:
    (bench.tree / "dump").write_bytes(b"x" * (MOST_BYTES + 1))
    for name in "abcdefgh":
        (bench.tree / name).write_text("".join(f"{name} {i}\n" for i in range(90_000)))
    diff = bench.read()
    assert len(diff) <= MOST_BYTES and diff.endswith(b"\n") and b"diff --git a/a b/a" in diff
    assert bench.notes[0] == "dump is larger than 5 MB" and "only its beginning" in bench.notes[-1]


def test_git_that_an_agent_holds_up_is_given_up(bench: Bench) -> None:
    """A pipe where git expects a file would block it for ever."""
    (bench.tree / ".gitignore").unlink()
    os.mkfifo(bench.tree / ".gitignore")
    clock = SystemClock()
    began = clock.mono_ms()
    with pytest.raises(WorkspaceFailure):
        bench.read()
    assert clock.mono_ms() - began < MOST_MS * 3
    assert (bench.tree / ".gitignore").is_fifo(), "it is the agent's, and stays"
