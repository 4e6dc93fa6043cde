"""The simulation's git: what is in each commit, which results merge, and the verdicts that programs write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pancode.kernel.ports import Composed, Composition, MergeConflictError

VERDICT = "verdict.json"
Files = Mapping[str, tuple[str, ...]]
"""By path: the runs that have written to it, the first one first."""


@dataclass(frozen=True)
class Work:
    """What a run does to its checkout: it writes to each of these files."""

    paths: tuple[str, ...]
    judges: str = ""
    """It approves when so many runs have written to this file; empty: it gives no verdict."""
    enough: int = 0


class Trees:
    """Commits that nobody made here are the user's own, and have no work of any run in them."""

    def __init__(self) -> None:
        self.commits: dict[str, Files] = {}
        self.work: dict[str, Work] = {}
        """By run: what its program does."""
        self.approved: dict[str, bool] = {}
        """By run of a judge: what it has written down."""

    def files(self, commit: object) -> Files:
        return self.commits.get(str(commit), {})

    def committed(self, run: str, began: str | None, commit: str) -> None:
        """A node has made the result of this run, in a checkout that began at that commit."""
        if run not in self.work:
            return
        work, files = self.work[run], dict(self.files(began))
        if work.judges:
            self.approved[run] = len(files.get(work.judges, ())) >= work.enough
            files[VERDICT] = (run,)
        for path in work.paths:
            files[path] = (*files.get(path, ()), run)
        self.commits[commit] = files

    def compose(self, wanted: Composition) -> Composed:
        """Two versions of a file go together where one of them continues from the other."""
        files: dict[str, tuple[str, ...]] = {}
        conflicts: set[str] = set()
        for commit in wanted.results.values():
            for path, writers in self.files(commit).items():
                short, long = sorted((files.get(path, ()), writers), key=len)
                files[path] = long
                if long[: len(short)] != short:
                    conflicts.add(path)
        if conflicts:
            raise MergeConflictError(
                f"merge conflict: {', '.join(sorted(conflicts))}",
                details={"files": "\n".join(sorted(conflicts))},
            )
        made = hashlib.sha1(repr(wanted).encode(), usedforsecurity=False).hexdigest()
        self.commits[made] = {path: who for path, who in files.items() if path not in wanted.without}
        return Composed(made, wanted.origin)

    def read(self, commit: str, path: str) -> bytes | None:
        """Only verdicts have text."""
        writers = self.files(commit).get(path)
        if path != VERDICT or not writers:
            return None
        word = "approved" if self.approved[writers[-1]] else "rejected"
        return json.dumps({"verdict": word, "by": writers[-1]}).encode()


def carries(later: Files, earlier: Files) -> list[str]:
    """The files of the earlier commit whose work the later one has lost. A verdict may go."""
    return [
        path
        for path, writers in earlier.items()
        if path != VERDICT and later.get(path, ())[: len(writers)] != writers
    ]
