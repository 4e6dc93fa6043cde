"""Helpers for the tests of checkouts that are used again."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from node_agent.attempt.ports import CommitStamp
from node_agent.wire.job import Workspace
from node_agent.workspace.folders import WorkspaceFolders
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.repos import NOW_MS, PathTransport, Repo, attempt, fingerprint, snap, workspace_of

STAMP = CommitStamp("result", NOW_MS)


def project(path: Path) -> Repo:
    repo = Repo(path)
    for name in ("f1", "f2", "d/f3", "d/e/f4", "other/f5"):
        repo.write(name, f"{name}\n")
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (repo.path / "ln").symlink_to("f1")
    repo.write(".gitignore", "*.o\n")
    repo.write("uv.lock", "1\n")
    repo.commit()
    return repo


def dispatched(repo: Repo, depot: Depot, run: str) -> Workspace:
    return workspace_of(snap(repo, depot, run))


def waiting(spaces: Workspaces) -> list[Path]:
    root = WorkspaceFolders(spaces.tree(attempt()).parents[2]).warm
    return sorted(root.iterdir()) if root.is_dir() else []


def must_be_as_new(spaces: Workspaces, run: str, wanted: Workspace, depot: Depot) -> Path:
    """Prepare it here and on a node that never had one: the same to the last mode, link and attribute."""
    tree = spaces.prepare(attempt(run), wanted)
    elsewhere = tree.parents[3] / "another"
    fresh = Workspaces(elsewhere, PathTransport(depot, str(wanted.repo))).prepare(attempt(run), wanted)
    seen = [fingerprint(one, times=False) for one in (tree, fresh)]
    for one in seen:
        del one[".git"]  # it names its own folder
    assert seen[0] == seen[1]
    for path in tree.rglob("*"):
        at = path.lstat()
        assert stat.S_ISDIR(at.st_mode) or at.st_nlink == 1, path
        assert os.listxattr(path, follow_symlinks=False) == os.listxattr(fresh / path.relative_to(tree)), path
    agent = Repo(tree, init=False)
    assert agent.git("status", "--porcelain", "--ignored") == ""
    assert agent.head == wanted.snapshot
    assert agent.git("rev-parse", "--abbrev-ref", "HEAD") == f"pancode/{run}"
    assert agent.git("config", "--local", "--list") == Repo(fresh, init=False).git(
        "config", "--local", "--list"
    )
    assert agent.git("stash", "list") == "" and agent.git("branch") == f"* pancode/{run}"
    shutil.rmtree(elsewhere)
    return tree


def again(spaces: Workspaces, wanted: Workspace, mess: Callable[[Path], object] = lambda tree: None) -> int:
    """An attempt that is over; the inode of a file that nobody touched."""
    tree = spaces.prepare(attempt(), wanted)
    inode = (tree / "other" / "f5").stat().st_ino
    mess(tree)
    spaces.commit(attempt(), wanted, STAMP)
    spaces.remove(attempt(), wanted)
    assert spaces.list() == ()
    return inode
