"""Keeps a node's copy of each repository, and gives an attempt only the git objects of its own snapshot.

The objects that the base commit reaches are packed once and shared by all attempts that begin at that commit;
for a later base commit only the new objects are added to an earlier pack.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from node_agent.wire.git import repository_config, snap_ref, store_ref
from node_agent.wire.identity import AttemptId
from node_agent.wire.keep import DAY_MS, KEEP, KeepBound
from node_agent.workspace.eviction import KeptFolder, measure_folder, select_evicted, used_ms
from node_agent.workspace.folders import WorkspaceFolders, erase, lock_file
from node_agent.workspace.git import NodeGit, WorkspaceFailure

STORES = "stores"
"""The folder of a mirror with its object stores, each named after its commit."""
MOST_STORES, MOST_PACKS = 4, 24
PACK_MS = 7 * DAY_MS
SALVAGE = "refs/pancode/salvage"
_NEW = "new-"
PACK = ("pack-objects", "--revs", "--non-empty", "--delta-base-offset", "--window=0", "-q")
"""The options without a search for deltas: the mirror's deltas are reused."""


def _store(git: NodeGit, base: str) -> Path:
    every = git.git_dir / STORES
    target = every / base
    if target.is_dir():
        os.utime(target)
        return target
    every.mkdir(mode=0o700, exist_ok=True)
    for left in every.glob(f"{_NEW}*"):  # left by a killed process: only this process has the lock now
        erase(left)
    fresh = Path(tempfile.mkdtemp(prefix=_NEW, dir=every))
    packs = fresh / "pack"
    packs.mkdir()
    before = _find_earlier(git, every, base)
    for file in (before / "pack").iterdir() if before else ():
        os.link(file, packs / file.name)
    revs = f"{base}\n" + (f"^{before.name}\n" if before else "")
    git.must(*PACK, str(packs / "pack"), stdin=revs.encode())
    os.rename(fresh, target)
    git.must("update-ref", store_ref(base), base)  # so that a later fetch need not transfer the commit again
    return target


def _find_earlier(git: NodeGit, every: Path, base: str) -> Path | None:
    """Return the newest store of an ancestor of `base`, whose objects `base` can therefore all reach."""
    for one in _list_newest(every)[:MOST_STORES]:
        few = len(list((one / "pack").glob("*.pack"))) < MOST_PACKS
        if few and git.ask("merge-base", "--is-ancestor", one.name, base).ok:
            return one
    return None


def trim_stores(mirror: Path, keep: int = MOST_STORES) -> None:
    """Delete all stores but the newest `keep`. Call only while no attempt borrows objects from them."""
    for one in _list_newest(mirror / STORES)[keep:]:
        NodeGit(mirror).ask("update-ref", "-d", store_ref(one.name))
        erase(one)


def _list_newest(every: Path) -> list[Path]:
    found = [one for one in every.iterdir() if not one.name.startswith(_NEW)] if every.is_dir() else []
    return sorted(found, key=lambda one: one.stat().st_mtime_ns, reverse=True)


def _has_salvage(mirror: Path) -> bool:
    return bool(NodeGit(mirror).ask("for-each-ref", "--count=1", SALVAGE).out)


def _is_due(mirror: Path, now_ms: int) -> bool:
    """Whether packing the mirror is worthwhile: there are many packs, or the last packing was a week ago."""
    packed = mirror / "packed-refs"
    age_ms = now_ms - packed.stat().st_mtime_ns // 1_000_000 if packed.exists() else PACK_MS + 1
    return age_ms > PACK_MS or len(list((mirror / "objects/pack").glob("*.pack"))) > MOST_PACKS


class Transport(Protocol):
    """The transport of git objects between this node and the coordinator's git depot. Calls may be repeated
    after any failure. Raises DepotUnavailable (try again later) or DepotRefused (permanent)."""

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        """Fetch the git depot's `ref` into the same ref of a local bare repository."""

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        """Push `commit` of a local repository to the attempt's own ref in the git depot."""


def make_bare(path: Path, object_format: str) -> None:
    """Create a bare repository at `path`, without a template and with PanCode's configuration. Idempotent."""
    if not (path / "HEAD").exists():
        lay_out_repository(path, "refs/heads/main")
    reset_config(path, object_format)


def lay_out_repository(path: Path, head: str) -> None:
    """Create what git requires of a repository, except its configuration. `head`: the ref of its HEAD."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("objects/info", "objects/pack", "refs/heads"):
        (path / name).mkdir(parents=True, exist_ok=True)
    fresh = path / "HEAD.new"  # a HEAD exists only with its content, even after a killed process
    fresh.write_text(f"ref: {head}\n")
    os.replace(fresh, path / "HEAD")


def reset_config(path: Path, object_format: str) -> None:
    """Rewrite a repository's configuration and remove its hooks: an agent may have changed both."""
    target, fresh = path / "config", path / "config.new"
    for leftover in (fresh, path / "hooks", path / "commondir"):
        erase(leftover)
    fresh.write_text(repository_config(object_format))
    os.replace(fresh, target)


def borrow_objects(path: Path, mirror: Path) -> None:
    """Let the repository at `path` read the objects of `mirror`, with the same shallow history."""
    (path / "objects" / "info" / "alternates").write_text(f"{mirror.resolve() / 'objects'}\n")
    with suppress(FileNotFoundError):
        (path / "shallow").write_text((mirror / "shallow").read_text())


def _read_ref(mirror: Path, ref: str) -> str | None:
    """Return the object that a ref names, or None if the ref does not exist. Requires the mirror's lock."""
    loose, packed = mirror / ref, mirror / "packed-refs"
    if loose.is_file():
        return loose.read_text().strip()
    rows = packed.read_text().splitlines() if packed.is_file() else []
    return next((row.split()[0] for row in rows if row.endswith(f" {ref}")), None)


def _drop_locks(path: Path) -> None:
    """Remove a killed git's lock files, which would block any later git. Requires the mirror's lock."""
    for lock in (*path.glob("*.lock"), *path.glob("refs/**/*.lock")):
        lock.unlink(missing_ok=True)


class Mirrors:
    """All mirrors of a node. A run with the same uid can write to them: they are checked and replaceable."""

    def __init__(self, home: WorkspaceFolders, transport: Transport, bound: KeepBound = KEEP.mirrors) -> None:
        self._home, self._transport, self._bound = home, transport, bound

    def bring(self, identity: AttemptId, repo_id: str, commit: str, object_format: str) -> Path:
        """Return the mirror with the attempt's snapshot; fetch the snapshot only if it is missing."""
        path, ref = self._home.mirror(repo_id), snap_ref(identity.run)
        with self._lock_mirror(repo_id):
            make_bare(path, object_format)
            os.utime(path)  # marks the mirror as used now
            got = _read_ref(path, ref)
            # an attempt after a power failure may find the ref without its objects
            if got != commit or not NodeGit(path).ask("cat-file", "-e", f"{commit}^{{tree}}").ok:
                _drop_locks(path)
                self._transport.fetch(identity, path, ref)
                got = _read_ref(path, ref)
        if got != commit:
            raise WorkspaceFailure(f"the depot's {ref} is {got}, but the job names {commit}")
        return path

    def lend(self, repo_id: str, git_dir: Path, snapshot: str) -> Path | None:
        """Give an attempt's new repository its snapshot's objects. Return the store from which it borrows."""
        with self._lock_mirror(repo_id):
            # A snapshot without a parent is packed completely into the repository, which then borrows no
            # objects.
            mirror = self._home.mirror(repo_id)
            git = NodeGit(mirror)
            with suppress(FileNotFoundError):
                shutil.copyfile(mirror / "shallow", git_dir / "shallow")
            parents = git.text("rev-list", "--max-count=1", "--parents", snapshot).split()[1:]
            store = _store(git, parents[0]) if parents else None
            pack = git_dir / "objects" / "pack" / "pack"
            # No sync is needed, since the attempt's folder is created again after a power failure.
            revs = f"{snapshot}\n" + "".join(f"^{one}\n" for one in parents[:1])
            git.must("-c", "core.fsync=none", *PACK, str(pack), stdin=revs.encode())
            if store is not None:
                (git_dir / "objects" / "info" / "alternates").write_text(f"{store.resolve()}\n")
            return store

    def drop_stores(self, repo_id: str) -> None:
        """Delete the repository's stores, to be made again. Call only while no attempt borrows from them."""
        with self._lock_mirror(repo_id):
            trim_stores(self._home.mirror(repo_id), keep=0)

    def sound(self, repo_id: str) -> bool:
        """Whether every object of the mirror is readable. Slow, so it is called only after a failure."""
        path = self._home.mirror(repo_id)
        return not path.is_dir() or NodeGit(path).ask("fsck", "--full", "--no-dangling").ok

    def renew(self, repo_id: str) -> None:
        """Delete a broken mirror; the next `bring` fetches the repository again."""
        with self._lock_mirror(repo_id):
            erase(self._home.mirror(repo_id))

    def release(self, repo_id: str, run: str, is_wanted: Callable[[], bool]) -> None:
        """Delete a run's snapshot ref, unless an attempt of the run still needs it. A broken mirror, which
        has no such ref, is not an error: `bring` repairs it, and clean-up continues."""
        path = self._home.mirror(repo_id)
        if path.is_dir():
            with self._lock_mirror(repo_id):
                if is_wanted():
                    return
                _drop_locks(path)
                ref, git = snap_ref(run), NodeGit(path)
                with suppress(FileNotFoundError, NotADirectoryError):
                    (path / ref).unlink()  # all that git does for a ref that is not packed
                if _read_ref(path, ref) is not None and git.ask("rev-parse", "--git-dir").ok:
                    git.must("update-ref", "-d", ref)

    def trim(self, now_ms: int, borrowed: Iterable[Path], is_idle: bool) -> None:
        """Delete mirrors that are unused for too long or together too large. `is_idle`: also pack other
        mirrors for which packing is due.

        `borrowed`: the stores that existing and future checkouts use. Mirrors with salvaged results stay.
        """
        every, lent = self._home.root / "mirrors", [path.resolve() for path in borrowed]
        found = sorted(path for path in every.iterdir() if path.is_dir()) if every.is_dir() else []
        used = {path.name for path in found if any(path.resolve() in one.parents for one in lent)}
        kept = [
            KeptFolder(path.name, used_ms(path), measure_folder(path, self._bound), stays=path.name in used)
            for path in found
        ]
        gone = select_evicted(kept, self._bound, now_ms)
        for path in found:
            with self._lock_mirror(path.name):
                if path.name in used:
                    continue
                # the mirror is still unused
                if gone.get(path.name) == used_ms(path) and not _has_salvage(path):
                    erase(path)
                elif is_idle and _is_due(path, now_ms):
                    trim_stores(path)
                    NodeGit(path).must("gc", "-q", "--prune=2.weeks.ago")

    def _lock_mirror(self, repo_id: str) -> AbstractContextManager[None]:
        path = self._home.mirror(repo_id)
        return lock_file(path.with_name(path.name + ".lock"))
