"""Keeps one bare repository per project with all the project's objects; runs fetch from it and push to it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git import (
    base_ref,
    checked_object,
    checked_repo,
    repository_config,
    result_prefix,
    snap_ref,
)
from node_agent.wire.identity import AttemptId
from pancode.git.runner import Git, GitFailure, GitRefusal, safe_env

GRACE = "2.weeks.ago"
"""The age up to which git keeps an unreferenced object, because objects are written before their ref. `now`
would delete objects that are in use."""

COLLECT_MS, NEVER_MS, MOST_PACKS = 7 * 86_400_000, 1 << 60, 16
_KINDS = ("snap", "base")
"""The ref folders in which each run has one ref; a run's results are in a folder named after the run."""

MOST_KNOWN = 1000
"""How many results' commits are remembered between their delivery and their landing."""

GC = "gc"
"""The name of the lock that is held while git collects garbage."""


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """The id, the tree and the parents of a commit."""

    id: str
    tree: str
    parents: tuple[str, ...]


def read_commits(git: Git, *names: str) -> list[CommitFacts]:
    """Return the facts of these different commits. Raises GitFailure for a commit that does not exist."""
    rows = git.text("log", "--no-walk=unsorted", "--format=%H %T %P", *names, "--").splitlines()
    return [CommitFacts(oid, tree, tuple(parents)) for oid, tree, *parents in (row.split() for row in rows)]


class Depot:
    """All projects' bare repositories under one folder, `<root>/<repo id>.git`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._newest: dict[str, str] = {}
        """The newest base ref by repository, if this process wrote it."""
        self._verified: dict[tuple[str, str], tuple[CommitFacts, CommitFacts]] = {}

    def path(self, repo_id: str) -> Path:
        return self.root / f"{checked_repo(repo_id)}.git"

    def git(self, repo_id: str, **variables: str) -> Git:
        """Return hardened git for a repository of the depot. Raises GitRefusal if it is not there."""
        path = self.path(repo_id)
        if not path.is_dir():
            raise GitRefusal(
                f"repository {repo_id} not found in the depot", fix="dispatch again from the project"
            )
        return Git(path, safe_env() | {"GIT_DIR": str(path)} | variables)

    def ensure(self, repo_id: str, object_format: str = "sha1") -> Path:
        """Return the path; create the repository if missing. Idempotent; safe for concurrent processes."""
        path = self.path(repo_id)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_dir():
            with self.locked(repo_id):
                if not path.is_dir():
                    self._make(path, object_format)
        return path

    def _make(self, path: Path, object_format: str) -> None:
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            command = ("init", "-q", "--bare", "--template=", f"--object-format={object_format}", str(fresh))
            Git(self.root, safe_env()).must(*command)
            (fresh / "config").write_text(repository_config(object_format))
            fresh.rename(path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    @contextmanager
    def locked(self, repo_id: str, what: str = "depot") -> Iterator[None]:
        """Hold the project's lock named `what`; waits until it is free."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(
            self.root / f"{checked_repo(repo_id)}.{what}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def repair(self) -> None:
        """Remove the lock files and temporary folders that killed processes left. Only at the coordinator's
        start, before the depot is used. A stale git lock file would block every later change."""
        for pattern in (".new-*", "*.git/pancode-*"):
            for leftover in self.root.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)
        for lock in (*self.root.glob("*.git/*.lock"), *self.root.glob("*.git/refs/**/*.lock")):
            lock.unlink(missing_ok=True)

    def forget_unused(self, now_ms: int) -> None:
        """Remove repositories in which no run has a ref and whose refs have not changed for two weeks. Call
        it only at the coordinator's start, before the depot is used."""
        for repo_id in self.repositories():
            with suppress(GitFailure):
                if 2 * COLLECT_MS < self._since_packed(repo_id, now_ms) < NEVER_MS and not self.runs(repo_id):
                    shutil.rmtree(self.path(repo_id), ignore_errors=True)

    def _since_packed(self, repo_id: str, now_ms: int) -> int:
        """Return the milliseconds since the repository's refs were last packed."""
        packed = self.path(repo_id) / "packed-refs"
        return now_ms - packed.stat().st_mtime_ns // 1_000_000 if packed.exists() else NEVER_MS

    def is_newest_base(self, repo_id: str, commit: str) -> bool:
        """Whether the base of the newest run is this commit; False also if that is not known at once."""
        ref = self.path(repo_id) / self._newest.get(repo_id, "")
        return ref.is_file() and ref.read_text().strip() == commit

    def set_snapshot(self, repo_id: str, run: str, commit: str, base: str | None) -> None:
        """Make these commits the snapshot and the base of a run. Idempotent."""
        moves = f"update {snap_ref(run)} {commit}\n" + (f"update {base_ref(run)} {base}\n" if base else "")
        self.git(repo_id).must("update-ref", "--stdin", stdin=moves.encode())
        self._newest[repo_id] = base_ref(run)

    def known_bases(self, repo_id: str) -> tuple[str, ...]:
        """Return the repository's base commits: the depot has the whole history of each."""
        listed = self.git(repo_id).text("for-each-ref", "--format=%(objectname)", "refs/pancode/base")
        return tuple(dict.fromkeys(listed.split()))

    def has_commit(self, repo_id: str, commit: str) -> bool:
        """Whether the depot has this repository and the repository has this commit."""
        named = f"{checked_object(commit)}^{{commit}}"
        return self.path(repo_id).is_dir() and self.git(repo_id).ask("cat-file", "-e", named).ok

    def verify_result(
        self, repo_id: str, identity: AttemptId, commit: str, snapshot: str | None = None
    ) -> bool:
        """Whether the attempt pushed `commit` with all objects, built on `snapshot` (None: the run's)."""
        git = self.git(repo_id)
        try:
            facts = read_commits(git, identity.ref, snapshot or snap_ref(identity.run))
        except GitFailure:  # one of them does not exist
            facts = []
        if not facts or facts[0].id != checked_object(commit):
            return False
        made, began = facts[0], facts[-1]
        if began.id not in made.parents and not git.ask("merge-base", "--is-ancestor", began.id, commit).ok:
            return False
        if len(self._verified) > MOST_KNOWN:
            self._verified.clear()
        self._verified[began.id, commit] = began, made
        return git.ask("rev-list", "--objects", "--quiet", commit, f"^{began.id}").ok

    def facts_of(self, snapshot: str, commit: str) -> tuple[CommitFacts, CommitFacts] | None:
        """Return the facts of a result that `verify_result` read; None if it has to be read again."""
        return self._verified.get((snapshot, commit))

    def repositories(self) -> tuple[str, ...]:
        """Return the ids of all repositories in the depot."""
        return tuple(sorted(path.name.removesuffix(".git") for path in self.root.glob("p-*.git")))

    def runs(self, repo_id: str) -> frozenset[str]:
        """Return the ids of the runs that have refs in the repository."""
        listed = self.git(repo_id).text("for-each-ref", "--format=%(refname)", "refs/pancode")
        parts = (ref.split("/") for ref in listed.split())
        return frozenset(part[3] if part[2] in _KINDS else part[2] for part in parts)

    def drop(self, repo_id: str, runs: Iterable[str]) -> None:
        """Delete the refs of these runs; a later `collect` removes the objects. Idempotent."""
        git = self.git(repo_id)
        refs = [ref for run in runs for ref in (result_prefix(run), snap_ref(run), base_ref(run))]
        listed = git.text("for-each-ref", "--format=%(refname)", *refs) if refs else ""
        orders = "".join(f"delete {ref}\n" for ref in listed.split())
        git.must("update-ref", "--stdin", stdin=orders.encode())

    def pack(self, repo_id: str, target: Path, tips: Iterable[str], known: Iterable[str]) -> bool:
        """Write a pack of all that the commits `tips` reach and the commits `known` do not; return False if
        that is nothing. Commits of `known` that are gone are ignored. Raises GitFailure if an object is
        missing."""
        git, new = self.git(repo_id), frozenset(tips) - frozenset(known)
        if not new:
            return False
        asked = "".join(f"{one}\n" for one in known).encode()
        listed = git.must("cat-file", "--batch-check=%(objectname)", stdin=asked).text().splitlines()
        wanted = [*new, *(f"^{one}" for one in listed if not one.endswith(" missing"))]
        lines = "".join(f"{one}\n" for one in wanted).encode()
        git.must(
            "pack-objects",
            "-q",
            "--revs",
            "--thin",
            "--delta-base-offset",
            "--stdout",
            stdin=lines,
            stdout=target,
        )
        with target.open("rb") as written:
            return int.from_bytes(written.read(12)[8:], "big") > 0

    def unpack(self, repo_id: str, pack: Path) -> None:
        """Add the objects of a pack that `pack` wrote. Raises GitFailure for a damaged one."""
        self.git(repo_id).must("index-pack", "--stdin", "--fix-thin", stdin=pack)

    def is_due(self, repo_id: str, now_ms: int) -> bool:
        """Whether `collect` is due: the repository has many packs, or was not packed for a week."""
        packs = len(list((self.path(repo_id) / "objects/pack").glob("*.pack")))
        return packs > MOST_PACKS or self._since_packed(repo_id, now_ms) > COLLECT_MS

    def collect(self, repo_id: str) -> None:
        """Pack the repository, and remove unreferenced objects that are older than two weeks."""
        with self.locked(repo_id, GC), suppress(GitFailure):
            self.git(repo_id).must("gc", "-q", f"--prune={GRACE}")
