"""Keeps the checkout of a finished attempt for the next attempt of the same repository.

Of it stays only what nobody touched since git wrote it; everything else is removed, and written anew for the
next snapshot.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.attempt.ports import StepFailed
from node_agent.files.walk import WalkedName, walk
from node_agent.wire.git import parents
from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.folders import AttemptFolders, erase, give
from node_agent.workspace.index import Index, ObjectFormat

MOST = 4
"""Checkouts that wait on a node."""
IDLE_MS = 7 * 24 * 3_600_000
TICK_S, TICKS = 0.002, 25
"""The wait for the file system's clock, which on older kernels moves every 1 to 10 ms."""


@dataclass(frozen=True, slots=True)
class Kept:
    """This process's record of a checkout, where no agent can change it."""

    repo: str
    object_format: ObjectFormat
    digest: str
    """Of the index that git wrote with the checkout."""
    folder_mode: int
    owner: int
    folders: str = ""
    """While it waits: how its folders were left."""


class WarmCheckouts:
    """Washed checkouts under `root`. Thread-safe. What a node agent before left there is erased by `trim`."""

    def __init__(self, root: Path, has_room: Callable[[], bool], most: int = MOST) -> None:
        self._root, self._has_room, self._most = root, has_room, most
        self._lock = threading.Lock()
        self._known: dict[Path, Kept] = {}
        """By the attempt's folder, while the attempt lives."""
        self._waiting: dict[Path, Kept] = {}
        """By the folder below `root`, the oldest first."""
        self._busy: set[Path] = set()
        """Folders below `root` that a call is using."""

    def remember(self, places: AttemptFolders, repo: str, object_format: ObjectFormat) -> None:
        """Nothing of the attempt has run yet: how git left its checkout."""
        data = (places.git / "index").read_bytes()
        places.index.write_bytes(data)
        mode = os.stat(places.git / "refs").st_mode
        if _clock_moved(places.index):
            with self._lock:
                self._known[places.folder] = Kept(repo, object_format, _digest(data), mode, os.geteuid())

    def give(self, places: AttemptFolders, owner: int) -> None:
        """Make that user the owner of the checkout; what nobody touched is remembered as it is then.

        Only while no process of the attempt lives.
        """
        with self._lock:
            kept = self._known.pop(places.folder, None)
        if kept is None or not self._given(places, kept, owner):
            give(places.tree, owner)

    def _given(self, places: AttemptFolders, kept: Kept, owner: int) -> bool:
        try:
            index = _trusted(places.index, kept)
            same = _untouched(places.tree, index)
            give(places.tree, owner)
            _note_all(places.tree, index, same)
            places.index.write_bytes(data := index.data())
        except (OSError, StepFailed):
            return False
        if _clock_moved(places.index):
            with self._lock:
                self._known[places.folder] = replace(kept, digest=_digest(data), owner=owner)
        return True

    def keep(self, places: AttemptFolders) -> bool:
        """Wash the checkout and move it away; False: it cannot be kept, and what is left of it is yours.

        Only while no process of the attempt lives.
        """
        there = self._root / places.folder.name
        with self._lock:
            kept = self._known.pop(places.folder, None)
        if kept is None or not self._has_room():
            return False
        with self._using(there), suppress(OSError, StepFailed):
            washed = _moved_away(places, there, kept)
            with self._lock:
                self._waiting[there] = washed
                dropped = list(self._waiting)[: -self._most]
                for one in dropped:
                    del self._waiting[one]
            for one in dropped:
                erase(one)
            return True
        return False

    def take(self, places: AttemptFolders, repo: str, object_format: ObjectFormat) -> Index | None:
        """Move the newest one of this repository to the attempt's tree; its index, or None without one.

        `read-tree --reset -u` with that index writes what is missing or differs.
        """
        wanted = repo, object_format
        with self._lock:
            fitting = [at for at, one in self._waiting.items() if (one.repo, one.object_format) == wanted]
            if not fitting:
                return None
            there = fitting[-1]
            kept = self._waiting.pop(there)
        with self._using(there):
            try:
                return _moved_back(there, places, kept)
            except (OSError, StepFailed):
                return None
            finally:
                with suppress(OSError, StepFailed):  # `trim` tries again
                    erase(there)

    def date_as_new(self, places: AttemptFolders, repo: str, object_format: ObjectFormat) -> None:
        """Give each file the time of now, as in a new checkout: `make` compares it with what set-up made.

        Nothing of the attempt has run yet.
        """
        index = Index((places.git / "index").read_bytes(), object_format)
        for path, entry in index:
            if not index.is_submodule(entry):
                file = os.path.join(os.fsencode(places.tree), path)
                os.utime(file, follow_symlinks=False)
                index.note(entry, os.lstat(file))
        (places.git / "index").write_bytes(index.data())
        self.remember(places, repo, object_format)

    def trim(self, now_ms: int) -> None:
        """Erase those that waited for long, all of them when the disk is short, and what crashes left."""
        has_room = self._has_room()
        with self._lock:
            for one in [*self._waiting]:
                if not has_room or _is_old(one, now_ms):
                    del self._waiting[one]
            names = os.listdir(self._root) if self._root.is_dir() else []
            gone = {self._root / name for name in names} - self._waiting.keys() - self._busy
        for path in gone:
            with suppress(OSError, StepFailed):  # the next time, then
                erase(path)

    @contextmanager
    def _using(self, there: Path) -> Iterator[None]:
        with self._lock:
            self._busy.add(there)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(there)


def _moved_away(places: AttemptFolders, there: Path, kept: Kept) -> Kept:
    """The checkout, washed, is in `there` with its index."""
    index = _trusted(places.index, kept)
    _wash(places.tree, index, kept)
    erase(there)
    there.mkdir(mode=0o700, parents=True)
    data = index.data()
    (there / "index").write_bytes(data)
    os.rename(places.tree, there / "tree")
    return replace(kept, digest=_digest(data), owner=os.geteuid(), folders=_seen(there / "tree", index))


def _moved_back(there: Path, places: AttemptFolders, kept: Kept) -> Index:
    """With its folders as they were left: nothing was added. Git itself sees which file was changed."""
    index = _trusted(there / "index", kept)
    if _seen(there / "tree", index) != kept.folders:
        raise WorkspaceFailure("something was written into a checkout that waited")
    os.rename(there / "tree", places.tree)  # in the place of an empty folder
    return index


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _trusted(path: Path, kept: Kept) -> Index:
    data = path.read_bytes()
    if _digest(data) != kept.digest:
        raise WorkspaceFailure("the index of the checkout is not the one that was written with it")
    return Index(data, kept.object_format)


def _clock_moved(path: Path) -> bool:
    """Wait until a change would get a later time than all that was written so far; False: it takes long."""
    before = os.stat(path).st_ctime_ns
    for _ in range(TICKS):
        os.utime(path)
        if os.stat(path).st_ctime_ns > before:
            return True
        time.sleep(TICK_S)
    return False


def _untouched(tree: Path, index: Index) -> dict[bytes, int]:
    found, top = {}, os.fsencode(tree)
    for path, entry in index:
        with suppress(FileNotFoundError, NotADirectoryError):
            if not index.is_submodule(entry) and index.is_same(entry, os.lstat(os.path.join(top, path))):
                found[path] = entry
    return found


def _note_all(tree: Path, index: Index, entries: Mapping[bytes, int]) -> None:
    for path, entry in entries.items():
        index.note(entry, os.lstat(os.path.join(os.fsencode(tree), path)))


def _wash(tree: Path, index: Index, kept: Kept) -> None:
    """Remove all that git did not write, or that was changed since, and note in the index what is missing.

    What stays is our own again. OSError or WorkspaceFailure when the tree cannot be made as good as new.
    """
    folders, missing, there = _folders(index), dict(index), dict[bytes, int]()
    _must_be_plain(str(tree), stat.S_IFDIR | 0o700, kept.owner)
    for one in walk(tree, opening=True):
        path = os.fsencode("/".join((*one.way, one.name)))
        if one.is_folder and path in folders:
            _must_be_plain(f"/proc/self/fd/{one.at}/{one.name}", kept.folder_mode, kept.owner)
        elif one.is_folder:
            os.rmdir(one.name, dir_fd=one.at)
        elif not _is_untouched(one, missing.get(path), index):
            os.unlink(one.name, dir_fd=one.at)
            continue
        if path in missing:
            there[path] = missing.pop(path)
    for entry in missing.values():
        index.note(entry, None)
    if kept.owner != os.geteuid():
        give(tree, os.geteuid())
        _note_all(tree, index, there)


def _is_untouched(one: WalkedName, entry: int | None, index: Index) -> bool:
    if entry is None or index.is_submodule(entry):
        return False
    return index.is_same(entry, os.stat(one.name, dir_fd=one.at, follow_symlinks=False))


def _folders(index: Index) -> set[bytes]:
    """Those of the checkout; of a submodule only its own, which is empty."""
    found = {folder for path, _ in index for folder in parents(path)}
    return found | {path for path, entry in index if index.is_submodule(entry)}


def _seen(tree: Path, index: Index) -> str:
    """A digest that changes when a name is added to a folder or removed, or its mode is changed."""
    top, digest = os.fsencode(tree), hashlib.sha256()
    for folder in (b"", *sorted(_folders(index))):
        with suppress(FileNotFoundError):  # all in it was removed, and then it itself
            seen = os.lstat(top + b"/" + folder)
            digest.update(b"%s\0%d %d %d\0" % (folder, seen.st_ino, seen.st_ctime_ns, seen.st_mode))
    return digest.hexdigest()


def _must_be_plain(folder: str, mode: int, owner: int) -> None:
    """A folder as git makes it: that mode and owner, without access lists or attributes."""
    seen = os.lstat(folder)
    if (seen.st_mode, seen.st_uid) != (mode, owner):
        raise WorkspaceFailure("a folder of the checkout has another mode or owner")
    names = os.listxattr(folder, follow_symlinks=False)
    if not all(name.startswith("security.") for name in names):
        raise WorkspaceFailure("a folder of the checkout has attributes")


def _is_old(path: Path, now_ms: int) -> bool:
    try:
        return now_ms - os.stat(path).st_mtime_ns // 1_000_000 > IDLE_MS
    except FileNotFoundError:
        return True
