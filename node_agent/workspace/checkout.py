"""Makes an attempt's own checkout: its git dir outside the tree, nothing shared that it could poison."""

from __future__ import annotations

import json
from pathlib import Path

from node_agent.wire.gitsafe import repository_config
from node_agent.wire.identity import AttemptId
from node_agent.wire.order import Workspace
from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.folders import Home, Places, erase, must_be_folder
from node_agent.workspace.gitrun import Git
from node_agent.workspace.mirror import Mirrors, borrow
from node_agent.workspace.spares import Spares

# Not `git worktree`: there an agent writes configuration and hooks of every other checkout.
_AGENT_CONFIG = (
    "[user]\n\tname = PanCode agent\n\temail = agent@pancode.invalid\n[advice]\n\tdetachedHead = false\n"
)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Checkouts:
    """Makes checkouts; each call may be repeated after a crash at any point."""

    def __init__(self, home: Home, mirrors: Mirrors, spares: Spares) -> None:
        self._home = home
        self._mirrors = mirrors
        self._spares = spares

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
            if not self._mirror_is_to_blame(identity, workspace):
                raise
            self._mirrors.renew(str(workspace.repo))
            self._make(identity, workspace, places)
        places.ready.write_text(mark)
        return places.tree

    def _make(self, identity: AttemptId, workspace: Workspace, places: Places) -> None:
        erase(places.folder)
        if workspace.kind == "none" and self._spares.take(places.folder):
            return
        places.folder.mkdir(mode=0o700, parents=True)
        places.tree.mkdir(mode=0o700)
        if workspace.kind == "none":
            return
        repo_id, commit = _pair(workspace)
        mirror = self._mirrors.bring(identity, repo_id, commit, workspace.object_format)
        self._check_out(identity, workspace, mirror, places)

    def _check_out(self, identity: AttemptId, workspace: Workspace, mirror: Path, places: Places) -> None:
        _, commit = _pair(workspace)
        object_format = f"--object-format={workspace.object_format}"
        places.git.mkdir(mode=0o700)
        Git(places.git).must("init", "-q", "--bare", "--template=", object_format)
        (places.git / "config").write_text(
            repository_config(workspace.object_format, bare=False) + _AGENT_CONFIG
        )
        borrow(places.git, mirror)
        Git(places.git, places.tree).must("checkout", "-q", "-b", f"pancode/{identity.run}", commit)
        # Written last: until here no git that starts in the tree finds a repository there.
        (places.tree / ".git").write_text(f"gitdir: {places.git.resolve()}\n")

    def _mirror_is_to_blame(self, identity: AttemptId, workspace: Workspace) -> bool:
        """Whether the mirror is broken, and nobody else borrows from it."""
        alone = all(other == identity for other in self._home.attempts())
        return alone and workspace.repo is not None and not self._mirrors.sound(workspace.repo)


def _mark(workspace: Workspace) -> str:
    """What `ready` says: for which order and in which boot; after a power loss files may be empty."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return json.dumps({"boot": boot, "workspace": workspace.model_dump(mode="json")}, sort_keys=True)


def _pair(workspace: Workspace) -> tuple[str, str]:
    if workspace.repo is None or workspace.snapshot is None:
        raise WorkspaceFailure("the order's git workspace names no repository or no snapshot")
    return workspace.repo, workspace.snapshot
