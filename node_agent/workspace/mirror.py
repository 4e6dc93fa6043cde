"""Keeps a node's copy of each repository: fetched once, borrowed by attempts, deleted when broken."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from node_agent.wire.git import repository_config, snap_ref
from node_agent.wire.identity import AttemptId
from node_agent.workspace import stores
from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.folders import WorkspaceFolders, erase, locked
from node_agent.workspace.gitrun import NodeGit


class Transport(Protocol):
    """The transport of git objects between this node and the depot.

    Both may be repeated after any failure. DepotUnavailable: try later; DepotRefused: never.
    """

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        """Bring the depot's `ref` into the same ref of a bare repository here."""

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        """Bring `commit` of a repository here to the attempt's own ref in the depot."""


def make_bare(path: Path, object_format: str) -> None:
    """A bare repository of ours at `path`: no template, our configuration only. Idempotent."""
    if not (path / "HEAD").exists():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        NodeGit(path).must("init", "-q", "--bare", "--template=", f"--object-format={object_format}")
    reset_config(path, object_format)


def reset_config(path: Path, object_format: str) -> None:
    """Write a repository's configuration anew and drop its hooks: an agent may have had its hands on both."""
    target, fresh = path / "config", path / "config.new"
    for leftover in (fresh, path / "hooks", path / "commondir"):
        erase(leftover)
    fresh.write_text(repository_config(object_format))
    os.replace(fresh, target)


def borrow(path: Path, mirror: Path) -> None:
    """Let the repository at `path` read the mirror's objects, cut off where the mirror is."""
    (path / "objects" / "info").mkdir(exist_ok=True)
    (path / "objects" / "info" / "alternates").write_text(f"{mirror.resolve() / 'objects'}\n")
    with suppress(FileNotFoundError):
        (path / "shallow").write_text((mirror / "shallow").read_text())


def _drop_locks(path: Path) -> None:
    """Lock files of a git that was killed would refuse every later one. Only under our own lock."""
    for lock in (*path.glob("*.lock"), *path.glob("refs/**/*.lock")):
        lock.unlink(missing_ok=True)


class Mirrors:
    """All mirrors of a node. An agent of the same uid can write them: they are checked, and disposable."""

    def __init__(self, home: WorkspaceFolders, transport: Transport) -> None:
        self._home = home
        self._transport = transport

    def bring(self, identity: AttemptId, repo_id: str, commit: str, object_format: str) -> Path:
        """The mirror, with the attempt's snapshot in it. Fetches nothing when it is there."""
        path, ref = self._home.mirror(repo_id), snap_ref(identity.run)
        with self._locked(repo_id):
            make_bare(path, object_format)
            git = NodeGit(path)
            if git.commit_at(ref) != commit or not git.ask("cat-file", "-e", f"{commit}^{{tree}}").ok:
                _drop_locks(path)
                self._transport.fetch(identity, path, ref)
            got = git.commit_at(ref)
        if got != commit:
            raise WorkspaceFailure(f"the depot's {ref} is {got}, the order says {commit}")
        return path

    def lend(self, repo_id: str, git_dir: Path, snapshot: str) -> Path | None:
        """Fill an attempt's new repository with what its snapshot reaches; the folder that it borrows."""
        with self._locked(repo_id):
            return stores.lend(self._home.mirror(repo_id), git_dir, snapshot)

    def drop_stores(self, repo_id: str) -> None:
        """They are made anew. Only while no attempt borrows from them."""
        with self._locked(repo_id):
            stores.trim(self._home.mirror(repo_id), keep=0)

    def sound(self, repo_id: str) -> bool:
        """Check whether every object of the mirror can be read; takes long, so only asked after a failure."""
        path = self._home.mirror(repo_id)
        return not path.is_dir() or NodeGit(path).ask("fsck", "--full", "--no-dangling").ok

    def renew(self, repo_id: str) -> None:
        """Put a broken mirror aside; the next `bring` fetches all of it again."""
        with self._locked(repo_id):
            erase(self._home.mirror(repo_id))

    def release(self, repo_id: str, run: str) -> None:
        """Forget a run's snapshot. Only after the last checkout that borrows from it is gone.

        A mirror that is no repository any more has none: `bring` sees to it, and the clean-up goes on.
        """
        path = self._home.mirror(repo_id)
        if path.is_dir():
            with self._locked(repo_id):
                _drop_locks(path)
                git = NodeGit(path)
                if git.ask("rev-parse", "--git-dir").ok:
                    git.must("update-ref", "-d", snap_ref(run))

    def tidy(self, repo_id: str) -> None:
        """Pack, and drop what nothing has named for two weeks. Only while no checkout borrows from it."""
        path = self._home.mirror(repo_id)
        if path.is_dir():
            with self._locked(repo_id):
                NodeGit(path).must("gc", "-q", "--prune=2.weeks.ago")
                stores.trim(path)

    def _locked(self, repo_id: str) -> AbstractContextManager[None]:
        path = self._home.mirror(repo_id)
        return locked(path.with_name(path.name + ".lock"))
