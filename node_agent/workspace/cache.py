"""Stores copies of folders by key. An entry is either complete or absent, and it can always be recreated."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.attempt.ports import StepFailed
from node_agent.files.durable import sync_folder, write_atomic
from node_agent.wire.keep import KEEP, KeepBound
from node_agent.workspace.eviction import KeptFolder, select_evicted, used_ms
from node_agent.workspace.folders import erase, real_folder
from node_agent.workspace.git import WorkspaceFailure, from_words

_BLOCK = 4096
_HEAD, _WHOLE = 2 << 10, 64 << 10
_POINTERS = (b".pth", b".egg-link")
_POINTER_NAMES = (b"direct_url.json", b"activate", b"activate.csh", b"activate.fish", b"activate.nu")
_FINDER = b"__editable__"
"""The name prefix of the module by which an editable install finds its source code."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a folder. `digest`: over names, modes, sizes, times and link targets. `bound`: the
    files and links that contain the path `home`; in a copy, they must contain the copy's path instead."""

    digest: str
    size: int
    bound: tuple[str, ...] = ()


def contents_of(folder: Path, home: bytes | None = None) -> Contents:
    """Read a folder; follow no links. Raises OSError if unreadable, ValueError for a pipe, socket, device."""
    seen, size, bound = hashlib.sha256(), 0, list[str]()
    for path, state in _walk_below(os.fsencode(folder)):
        name = path[len(os.fsencode(folder)) + 1 :]
        target = os.readlink(path) if stat.S_ISLNK(state.st_mode) else b""
        seen.update(b"%d %s\0%s\0" % (len(name), name, target) + _describe_file(name, state))
        size += state.st_size + _BLOCK
        if home is not None and _names_place(path, state, target, home):
            bound.append(os.fsdecode(name))
    return Contents(seen.hexdigest(), size, tuple(bound))


def move_place(folder: Path, bound: tuple[str, ...], old: bytes, new: bytes) -> None:
    """Replace the path `old` by `new` in the files and links `bound` of a copy that is not in use yet. Raises
    OSError or ValueError if the copy differs from the folder that was read."""
    for name in bound:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        if os.path.islink(path):
            target = os.readlink(path).replace(old, new)
            os.unlink(path)
            os.symlink(target, path)
            continue
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        # written in place: this keeps the file's mode and sets a new time
        with os.fdopen(handle, "r+b") as file:
            text = file.read()
            file.seek(0)
            file.write(text.replace(old, new))
            file.truncate()


def _walk_below(folder: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield everything in the folder, in an order only by names. Raises OSError if a path is too long."""
    left = _list_folder(folder)
    while left:
        entry = left.pop()
        state = entry.stat(follow_symlinks=False)
        yield entry.path, state
        if stat.S_ISDIR(state.st_mode):
            left += _list_folder(entry.path)


def _list_folder(folder: bytes) -> list[os.DirEntry[bytes]]:
    """Return the folder's entries, in reverse order of their names."""
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name, reverse=True)


def _describe_file(name: bytes, state: os.stat_result) -> bytes:
    """Return the attributes of a file that a faithful copy shares with it."""
    mode = state.st_mode
    if stat.S_ISLNK(mode):
        return b"link;"
    if stat.S_ISDIR(mode):
        return b"%o;" % mode
    if stat.S_ISREG(mode):
        return b"%o %d %d;" % (mode, state.st_size, state.st_mtime_ns)
    raise ValueError(f"{os.fsdecode(name)} is not a file, folder or link")


def _names_place(path: bytes, state: os.stat_result, target: bytes, home: bytes) -> bool:
    """Whether a link or file contains the path `home`, as installers write it: in links, `#!`, path files."""
    if target or not stat.S_ISREG(state.st_mode):
        return home in target
    name = os.path.basename(path)
    if (
        name.endswith(_POINTERS)
        or name in _POINTER_NAMES
        or (name.startswith(_FINDER) and name.endswith(b".py"))
    ):
        return home in _first_bytes(path, _WHOLE)
    if not state.st_mode & 0o111:
        return False
    # if the path is too long for `#!`, an installer writes `exec` in the second line
    head = _first_bytes(path, _HEAD)
    return head.startswith(b"#!") and any(home in line for line in head.split(b"\n")[:2])


def _first_bytes(path: bytes, most: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        return file.read(most)


MOST_ENTRIES = 8
_NEW, ABOUT = "new-", "about.json"
_COPY_S = 900.0


@dataclass(frozen=True, slots=True)
class CachedFolder:
    """A cache entry: the attempt that made it, its size, and its folders with their contents' digests."""

    maker: str
    size: int
    folders: Mapping[str, str]


class Cache:
    """Stored folders below `root`, one entry per key. A folder `new-*` is garbage unless a call is using it.

    One node agent uses the cache, with several threads. A run with the same user id can write to the cache,
    as to the whole home, so comparing a copy with the stored digest detects damage, but not an attack.
    """

    def __init__(self, root: Path, reserve: int = 0, bound: KeepBound = KEEP.set_ups) -> None:
        self._root, self._reserve, self._bound = root, reserve, bound
        self._lock, self._used = threading.Lock(), Counter[str]()

    def has(self, key: str) -> bool:
        return (self._root / key).is_dir()

    def fetch(
        self, key: str, folders: Iterable[str], move: Callable[[str, Mapping[str, Path]], None]
    ) -> CachedFolder | None:
        """Call `move` with maker and copies; return the entry. None: no complete entry, or no disk space."""
        with self._hold_entry(key):
            kept = self._read_about(key)
            if kept is not None and set(kept.folders) != set(folders):
                # the list is in a file that other processes of this user can write, so it is not trusted
                kept = None
            if kept is not None and not self.has_room(kept.size):
                return None
            if kept is not None and self._fetch_copy(key, kept, move):
                return kept
        self._drop(key)
        return None

    def _fetch_copy(
        self, key: str, kept: CachedFolder, move: Callable[[str, Mapping[str, Path]], None]
    ) -> bool:
        with self._make_fresh() as fresh:
            copies = {name: fresh / str(number) for number, name in enumerate(kept.folders)}
            try:
                for number, (name, digest) in enumerate(kept.folders.items()):
                    copy_folder(self._root / key / str(number), copies[name])
                    if contents_of(copies[name]).digest != digest:
                        return False
                os.utime(self._root / key)
            except (OSError, ValueError, StepFailed):
                return False
            move(kept.maker, copies)
            return True

    def put(
        self, key: str, maker: str, folders: Mapping[str, tuple[Path, Contents]], repository: str = ""
    ) -> None:
        """Store folder copies unless the key exists. Raises StepFailed or OSError if nothing was stored."""
        size = sum(seen.size for _, seen in folders.values())
        with self._make_fresh() as fresh:
            for number, (path, seen) in enumerate(folders.values()):
                copy_folder(path, fresh / str(number))
                if contents_of(fresh / str(number)).digest != seen.digest:
                    raise WorkspaceFailure(f"{path.name} changed while it was copied")
            digests = {name: seen.digest for name, (_, seen) in folders.items()}
            about = {"maker": maker, "size": size, "folders": digests, "repository": repository}
            write_atomic(fresh / ABOUT, json.dumps(about).encode())
            _run("sync", "-f", str(fresh))
            if not self.has_room(0):
                raise WorkspaceFailure("the disk's free space would fall below the reserve")
            self._name(fresh, key)
        for name in self._list_keys()[MOST_ENTRIES:]:
            self._drop(name)

    def _name(self, fresh: Path, key: str) -> None:
        try:
            os.rename(fresh, self._root / key)
        except OSError as exc:
            if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return  # another attempt has stored the same entry first
        sync_folder(self._root)

    def has_room(self, size: int) -> bool:
        """Whether the disk's reserve stays free if `size` more bytes are written."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = os.statvfs(self._root)
        return seen.f_bavail * seen.f_frsize - size >= self._reserve

    def trim(self, now_ms: int) -> None:
        """Delete entries too old or too many, and leftovers of crashes; all entries if disk space is low."""
        if not self._root.is_dir():
            return
        entries, room = self._list_keys(), self.has_room(0)
        gone = select_evicted(map(self._describe_entry, entries), self._bound, now_ms)
        for number, name in enumerate(entries):
            if not room or number >= MOST_ENTRIES or name in gone:
                self._drop(name)
        for path in self._root.glob(f"{_NEW}*"):
            self._sweep_folder(path)

    # -- internal parts

    def _list_keys(self) -> list[str]:
        """Return the keys, the most recently used first."""
        names = [path.name for path in self._root.iterdir() if not path.name.startswith(_NEW)]
        return sorted(names, key=lambda name: used_ms(self._root / name), reverse=True)

    def _describe_entry(self, name: str) -> KeptFolder:
        about = self._read_about(name)
        return KeptFolder(name, used_ms(self._root / name), 0 if about is None else about.size)

    def _read_about(self, key: str) -> CachedFolder | None:
        try:
            raw = json.loads((self._root / key / ABOUT).read_bytes())
            return CachedFolder(str(raw["maker"]), int(raw["size"]), dict(raw["folders"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def _hold_entry(self, name: str) -> Iterator[None]:
        with self._lock:
            self._used[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._used[name] -= 1

    @contextmanager
    def _make_fresh(self) -> Iterator[Path]:
        """Yield a new folder for this call, so that a `cp` outliving its node agent affects no later call."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            path = Path(tempfile.mkdtemp(prefix=_NEW, dir=self._root))
            self._used[path.name] += 1
        try:
            yield path
        finally:
            with self._lock:
                del self._used[path.name]
            self._sweep_folder(path)

    def _drop(self, name: str) -> None:
        """Move the entry away atomically, unless the entry is being copied; then erase it."""
        if not os.path.lexists(self._root / name):
            return
        with self._make_fresh() as fresh, self._lock, suppress(FileNotFoundError):
            if not self._used[name]:
                os.rename(self._root / name, fresh / "gone")

    def _sweep_folder(self, path: Path) -> None:
        with self._lock:
            if self._used[path.name]:
                return
        with suppress(OSError, StepFailed):  # the next call of `trim` tries again
            erase(path)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder faithfully; the copy may share disk blocks, but never an inode. Raises StepFailed."""
    if not real_folder(source):
        raise WorkspaceFailure(f"{source} no longer exists, or is not a folder")
    _run("cp", "-a", "--reflink=auto", "-T", "--", str(source), str(target))


def _run(*argv: str) -> None:
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COPY_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise WorkspaceFailure(f"{argv[0]} did not finish within {_COPY_S:g} s") from exc
    if done.returncode != 0:
        raise from_words(f"{argv[0]} failed", done.stderr.decode("utf-8", "replace").strip()[-500:])
