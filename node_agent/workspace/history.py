"""Takes over an agent's commits if they are complete; trusts nothing else of its repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.folders import AttemptFolders, erase, real_folder
from node_agent.workspace.gitrun import NodeGit
from node_agent.workspace.pipes import has_pipe


@dataclass(frozen=True, slots=True)
class History:
    """`tip` is the commit to build on: the snapshot when the agent made none.

    `based` says whether the snapshot is among its ancestors.
    """

    tip: str
    based: bool
    warning: str | None = None


def adopt(places: AttemptFolders, out: NodeGit, snapshot: str, began_at: str | None = None) -> History:
    """Copy the agent's history into `out`, every object checked. Never fails: the files remain without it.

    `began_at`: where set-up left the repository; there, too, the agent has made no commit.
    """
    head, warning = head_of(places.git)
    if head is None or head in (snapshot, began_at):
        return History(snapshot, True, warning)
    try:
        _copy(places, out, head, snapshot)
    except WorkspaceFailure as failure:
        return History(snapshot, True, f"the agent's commits are lost, its files are not: {failure}"[:500])
    based = out.ask("merge-base", "--is-ancestor", snapshot, head).ok
    return History(head, based, None if based else "the agent rewrote history: kept as a second parent")


def head_of(git_dir: Path) -> tuple[str | None, str | None]:
    if not real_folder(git_dir):
        return None, "the agent deleted its repository: the result is built from its files"
    head = None if has_pipe(git_dir) else NodeGit(git_dir).commit_at("HEAD")
    if head is not None:
        return head, None
    return None, "the agent's repository cannot be read: the result is built from its files"


def _copy(places: AttemptFolders, out: NodeGit, head: str, snapshot: str) -> None:
    """Copies objects as a pack through a file, never by path: no link of the agent's is followed later."""
    pack = places.out / "agent.pack"
    try:
        revs = f"{head}\n^{snapshot}\n".encode()
        options = ("-c", "core.bigFileThreshold=1m", "pack-objects", "--revs", "--stdout", "-q")
        NodeGit(places.git).must(*options, stdin=revs, stdout=pack)
        out.must("index-pack", "--stdin", "--strict", "--fix-thin", stdin=pack)
        out.must("rev-list", "--objects", "--quiet", head, f"^{snapshot}")
    finally:
        erase(pack)
