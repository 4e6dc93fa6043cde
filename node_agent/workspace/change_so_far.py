"""Reads the change of a run in progress from its checkout, to which its agent may write at the same time.

The agent owns the files, `.git`, attributes and filters there. Git therefore runs with a repository of its
own, whose configuration names no program, and changes nothing in the checkout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node_agent.vault.redact import Redactor
from node_agent.wire.clock import Clock
from node_agent.wire.git import decode_path, join_nul
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Workspace
from node_agent.workspace import result
from node_agent.workspace.folders import WorkspaceFolders, is_left_out, must_be_folder
from node_agent.workspace.git import NodeGit, WorkspaceFailure
from node_agent.workspace.mirror import borrow_objects, make_bare

MOST_MS, MOST_BYTES = 2_000, 5 << 20
"""How long git may take in all, and the most bytes of a diff and of a file in it."""
_STAGE = ("update-index", "-z", "--add", "--remove", "--replace", "--stdin")
_DIFF = ("diff", "--cached", "--no-ext-diff", "--no-textconv", "--no-color", "--find-renames")


class ChangeReader:
    """Reads the change of one run. `hidden`: the values that must not leave the node. `scratch`: an empty
    folder, outside of the checkout."""

    def __init__(
        self, home: WorkspaceFolders, hidden: Mapping[str, str], scratch: Path, clock: Clock
    ) -> None:
        self._home, self._redactor, self._scratch = home, Redactor(hidden), scratch
        self._clock, self._until_ms = clock, clock.mono_ms() + MOST_MS

    def read(
        self, identity: AttemptId, workspace: Workspace, baseline: str | None
    ) -> tuple[bytes, tuple[str, ...]]:
        """Return the diff from the run's snapshot to its files now, and notes on what it lacks.

        `baseline`: the name of the record of set-up's files, which are left out. Raises WorkspaceFailure.
        """
        if workspace.kind == "none" or workspace.snapshot is None:
            raise WorkspaceFailure("the run has no repository")
        places, snapshot = self._home.places(identity), workspace.snapshot
        must_be_folder(places.tree)
        make_bare(self._scratch, workspace.object_format)
        borrow_objects(self._scratch, self._home.mirror(str(workspace.repo)))
        self._git(places.tree).must("read-tree", snapshot)
        touched, links = result.list_touched(self._git(places.tree), opens=False)
        names = [name for name in touched if not is_left_out(places, name)]
        plain = [name for name in names if not name.endswith(b"/") and name not in links]
        taken, large = result.by_size(places.tree, plain, MOST_BYTES)
        gone = result.beyond_links(places.tree, plain)
        staged = join_nul([name for name in taken if name not in gone])
        self._git(places.tree).must(*_STAGE, stdin=staged)
        self._git(places.tree).must("update-index", "-z", "--force-remove", "--stdin", stdin=join_nul(gone))
        if baseline is not None:
            result.take_set_up_back(self._git(places.tree), result.read_baseline(places.baseline, baseline))
        diff = self._redactor.feed(self._git(places.tree).must(*_DIFF, snapshot).out)
        diff += self._redactor.close()
        notes = [f"{decode_path(name)} is larger than {MOST_BYTES >> 20} MB" for name in large]
        notes += [f"{decode_path(name)} is a repository of its own" for name in names if name[-1:] == b"/"]
        if len(diff) > MOST_BYTES:
            notes.append(f"the change is larger than {MOST_BYTES >> 20} MB; only its beginning is shown")
            diff = diff[: diff.rindex(b"\n", 0, MOST_BYTES) + 1]
        return diff, tuple(notes)

    def _git(self, tree: Path) -> NodeGit:
        """Return git with an index of its own for the checkout; all calls together end after `MOST_MS`."""
        more = {"GIT_INDEX_FILE": str(self._scratch / "so-far.index"), "GIT_OPTIONAL_LOCKS": "0"}
        left_ms = max(50, self._until_ms - self._clock.mono_ms())
        return NodeGit(self._scratch, tree, more, left_ms / 1000)
