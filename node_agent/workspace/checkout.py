"""Makes an attempt's own checkout: its git dir outside the tree, nothing shared that it could poison."""

from __future__ import annotations

import json
from pathlib import Path

from node_agent.wire.git import repository_config
from node_agent.wire.identity import AttemptId
from node_agent.wire.order import Workspace
from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.folders import AttemptFolders, WorkspaceFolders, erase, must_be_folder
from node_agent.workspace.gitrun import NodeGit
from node_agent.workspace.index import Index
from node_agent.workspace.mirror import Mirrors
from node_agent.workspace.warm import WarmCheckouts

# Not `git worktree`: there an agent writes configuration and hooks of every other checkout.
_AGENT_CONFIG = (
    "[user]\n\tname = PanCode agent\n\temail = agent@pancode.invalid\n[advice]\n\tdetachedHead = false\n"
)
_NO_SYNC = ("-c", "core.fsync=none")
"""After a power loss the attempt's folder is made anew."""
_READ_TREE = (*_NO_SYNC, "read-tree", "--reset", "-u")
"""Writes what differs from the index, and, unlike `checkout`, fails when an object is missing."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Checkouts:
    """Makes checkouts; each call may be repeated after a crash at any point."""

    def __init__(self, home: WorkspaceFolders, mirrors: Mirrors, warm: WarmCheckouts) -> None:
        self._home = home
        self._mirrors = mirrors
        self._warm = warm

    def prepare(self, identity: AttemptId, workspace: Workspace) -> Path:
        """The folder that the agent works in. What a crash left half done is made anew."""
        places = self._home.places(identity)
        if workspace.kind == "none":  # an empty folder is made anew as quickly as it is looked at
            self._make(identity, workspace, places)
            return places.tree
        mark = _mark(workspace)
        if places.ready.is_file() and places.ready.read_text() == mark:
            must_be_folder(places.tree)
            return places.tree
        try:
            self._make(identity, workspace, places)
        except WorkspaceFailure:
            if workspace.repo is None or any(other != identity for other in self._home.attempts()):
                raise  # somebody else borrows from the mirror
            self._mend(workspace.repo)
            self._make(identity, workspace, places)
        places.ready.write_text(mark)
        return places.tree

    def _make(self, identity: AttemptId, workspace: Workspace, places: AttemptFolders) -> None:
        erase(places.folder)
        places.folder.mkdir(mode=0o700, parents=True)
        places.tree.mkdir(mode=0o700)
        if workspace.kind == "none":
            return
        repo_id, commit = _pair(workspace)
        self._mirrors.bring(identity, repo_id, commit, workspace.object_format)
        self._check_out(identity, workspace, places)

    def _check_out(self, identity: AttemptId, workspace: Workspace, places: AttemptFolders) -> None:
        repo_id, commit = _pair(workspace)
        branch, object_format = f"pancode/{identity.run}", workspace.object_format
        places.git.mkdir(mode=0o700)
        NodeGit(places.git).must(
            *("init", "-q", "--bare", "--template=", f"--initial-branch={branch}"),
            f"--object-format={object_format}",
        )
        (places.git / "config").write_text(repository_config(object_format, bare=False) + _AGENT_CONFIG)
        store = self._mirrors.lend(repo_id, places.git, commit)
        if store is not None:
            places.store.write_text(str(store))
        NodeGit(places.git).must(*_NO_SYNC, "update-ref", "HEAD", commit)
        if not self._warmly(places, workspace):
            NodeGit(places.git, places.tree).must(*_READ_TREE, commit)
        self._warm.remember(places, repo_id, object_format)
        # Written last: until here no git that starts in the tree finds a repository there.
        (places.tree / ".git").write_text(f"gitdir: {places.git.resolve()}\n")

    def _warmly(self, places: AttemptFolders, workspace: Workspace) -> bool:
        """Check whether an earlier checkout was brought to the snapshot; False: the tree is empty."""
        repo_id, commit = _pair(workspace)
        before = self._warm.take(places, repo_id, workspace.object_format)
        if before is None:
            return False
        index = places.git / "index"
        try:
            index.write_bytes(before.data())
            attributes = before.attributes()
            del before  # of a large repository it is megabytes
            NodeGit(places.git, places.tree).must(*_READ_TREE, commit)
            now = Index(index.read_bytes(), workspace.object_format)
            if now.attributes() == attributes:
                return True  # else files that are the same to git are perhaps written in another way
        except WorkspaceFailure:
            pass
        index.unlink()
        erase(places.tree)
        places.tree.mkdir(mode=0o700)
        return False

    def date_as_new(self, identity: AttemptId, workspace: Workspace) -> None:
        """The files of the checkout are as new as in one that was just made. Nothing of it has run."""
        self._warm.date_as_new(self._home.places(identity), _pair(workspace)[0], workspace.object_format)

    def _mend(self, repo_id: str) -> None:
        """Makes a broken mirror again; no other attempt borrows from it now."""
        if self._mirrors.sound(repo_id):
            self._mirrors.drop_stores(repo_id)
        else:
            self._mirrors.renew(repo_id)


def _mark(workspace: Workspace) -> str:
    """The content of `ready`: the order and the boot; after a power loss files may be empty."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return json.dumps({"boot": boot, "workspace": workspace.model_dump(mode="json")}, sort_keys=True)


def _pair(workspace: Workspace) -> tuple[str, str]:
    if workspace.repo is None or workspace.snapshot is None:
        raise WorkspaceFailure("the order's git workspace names no repository or no snapshot")
    return workspace.repo, workspace.snapshot
