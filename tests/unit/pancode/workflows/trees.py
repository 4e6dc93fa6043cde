"""A depot for workflows in memory: it remembers what was composed, and has the files that a test gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import PancodeError
from pancode.kernel.ports import Composed, Composition, MergeConflictError, SnapshotTaken
from tests.unit.pancode.runs.world import HonestDepot
from tests.unit.pancode.workflows.world import step

VERDICT = {"file": "verdict.json", "schema": {"verdict": ["approved", "rejected"]}}
LOOP = {"verdict": VERDICT, "until": {"field": "verdict", "equals": "approved"}, "back_to": "build", "max": 2}


class Trees(HonestDepot):
    """Remembers what was composed; files of results are those that a test puts here, by commit."""

    def __init__(self) -> None:
        super().__init__()
        self.composed: list[Composition] = []
        self.files: dict[str, dict[str, bytes]] = {}
        self.answers: dict[str, str] = {}
        self.conflict = False
        self.sizes: dict[str, int] = {}
        """By commit: the lines of its change, where a test says so."""
        self.patches: dict[str, dict[str, bytes]] = {}
        """By commit: the change of each file."""
        self.broken: PancodeError | None = None
        """What reading raises."""
        self.without_history: PancodeError | None = None
        """What showing commits raises."""

    def shown_history(
        self, project: str, taken: SnapshotTaken, commits: str, most: int, hides: Callable[[str], bool]
    ) -> bytes:
        if self.without_history is not None:
            raise self.without_history
        return super().shown_history(project, taken, commits, most, hides)

    def whole_answer(self, identity: AttemptId, printed: bool) -> bytes | None:
        return next((text.encode() for text in self.answers.values()), None)

    def compose(self, wanted: Composition) -> Composed:
        if self.conflict and not wanted.marked and len(wanted.results) > 1:
            raise MergeConflictError(
                "merge conflict: a.txt", why="two changed it", details={"files": "a.txt"}
            )
        self.composed.append(wanted)
        return super().compose(wanted)

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        return self.files.get(commit, {}).get(path)

    def lines_changed(self, repo: str, old: str, new: str) -> int:
        if self.broken is not None and new == "b" * 40:
            raise self.broken
        return self.sizes[new] if new in self.sizes else super().lines_changed(repo, old, new)

    def shown_change(self, repo: str, old: str, new: str, most: int, hides: Callable[[str], bool]) -> bytes:
        names = self.patches.get(new, {})
        return b"".join(patch for name, patch in names.items() if not hides(name))

    def file_names(self, repo: str, commit: str) -> list[str]:
        if self.broken is not None:
            raise self.broken
        return sorted(self.files.get(commit, {}))


def changed(trees: Trees, letter: str, **more: Any) -> dict[str, Any]:
    """A run that has changed something ends."""
    trees.commits.add(letter * 40)
    return {"commit": letter * 40, "change": "change", "files_changed": ("a",), **more}


def git(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return step(name, *needs, workspace="git", **more)
