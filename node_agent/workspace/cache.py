"""Keeps folders by key: an entry is complete or absent, is copied in and out, and is disposable."""

from __future__ import annotations

import errno
import json
import os
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
from node_agent.workspace.contents import Contents, contents_of
from node_agent.workspace.errors import WorkspaceFailure, from_words
from node_agent.workspace.folders import erase, real_folder

MOST_ENTRIES = 8
IDLE_MS = 14 * 24 * 3_600_000
_NEW, _ABOUT = "new-", "about.json"
_COPY_S = 900.0


@dataclass(frozen=True, slots=True)
class CachedFolder:
    """An entry: which attempt made it, how large it is, and its folders with the digest of their contents."""

    maker: str
    size: int
    folders: Mapping[str, str]


class Cache:
    """Entries below `root`, one folder per key; a folder `new-*` is rubbish unless a call is using it.

    One node agent uses it, with several threads. An agent of the same uid can write it, as it can the rest
    of the node's home: what is copied out is compared with what went in, which shows damage, not an enemy.
    """

    def __init__(self, root: Path, reserve: int = 0) -> None:
        self._root, self._reserve = root, reserve
        self._lock, self._used = threading.Lock(), Counter[str]()

    def has(self, key: str) -> bool:
        return (self._root / key).is_dir()

    def fetch(
        self, key: str, folders: Iterable[str], move: Callable[[str, Mapping[str, Path]], None]
    ) -> CachedFolder | None:
        """Hand its maker and copies of it to `move`. None: no whole one of these folders, or no room."""
        with self._using(key):
            kept = self._about(key)
            if kept is not None and set(kept.folders) != set(folders):
                kept = None  # its list is a file that others of our user can write: a name may lead anywhere
            if kept is not None and not self.has_room(kept.size):
                return None
            if kept is not None and self._fetched(key, kept, move):
                return kept
        self._drop(key)
        return None

    def _fetched(self, key: str, kept: CachedFolder, move: Callable[[str, Mapping[str, Path]], None]) -> bool:
        with self._fresh() as fresh:
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

    def put(self, key: str, maker: str, folders: Mapping[str, tuple[Path, Contents]]) -> None:
        """Keep copies of these folders, unless it has that key. StepFailed or OSError: nothing was kept."""
        size = sum(seen.size for _, seen in folders.values())
        with self._fresh() as fresh:
            for number, (path, seen) in enumerate(folders.values()):
                copy_folder(path, fresh / str(number))
                if contents_of(fresh / str(number)).digest != seen.digest:
                    raise WorkspaceFailure(f"{path.name} changed while it was copied")
            digests = {name: seen.digest for name, (_, seen) in folders.items()}
            about = {"maker": maker, "size": size, "folders": digests}
            write_atomic(fresh / _ABOUT, json.dumps(about).encode())
            _run("sync", "-f", str(fresh))
            if not self.has_room(0):
                raise WorkspaceFailure("the disk's reserve would be touched")
            self._name(fresh, key)
        for name in self._entries()[MOST_ENTRIES:]:
            self._drop(name)

    def _name(self, fresh: Path, key: str) -> None:
        try:
            os.rename(fresh, self._root / key)
        except OSError as exc:
            if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return  # another attempt was faster: as good
        sync_folder(self._root)

    def has_room(self, size: int) -> bool:
        """Check whether so much more leaves the disk's reserve alone."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = os.statvfs(self._root)
        return seen.f_bavail * seen.f_frsize - size >= self._reserve

    def trim(self, now_ms: int) -> None:
        """Drop what was not used for long, what is too many, what crashes left; all, when the disk is low."""
        if not self._root.is_dir():
            return
        entries, room = self._entries(), self.has_room(0)
        for number, name in enumerate(entries):
            if not room or number >= MOST_ENTRIES or now_ms - self._used_ms(name) > IDLE_MS:
                self._drop(name)
        for path in self._root.glob(f"{_NEW}*"):
            self._sweep(path)

    # -- inside

    def _entries(self) -> list[str]:
        """Keys, the one used last first."""
        names = [path.name for path in self._root.iterdir() if not path.name.startswith(_NEW)]
        return sorted(names, key=self._used_ms, reverse=True)

    def _used_ms(self, name: str) -> int:
        try:
            return os.stat(self._root / name).st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return 0

    def _about(self, key: str) -> CachedFolder | None:
        try:
            raw = json.loads((self._root / key / _ABOUT).read_bytes())
            return CachedFolder(str(raw["maker"]), int(raw["size"]), dict(raw["folders"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def _using(self, name: str) -> Iterator[None]:
        with self._lock:
            self._used[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._used[name] -= 1

    @contextmanager
    def _fresh(self) -> Iterator[Path]:
        """A folder for one call alone: a `cp` that outlives its node agent meets nothing of the next one."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            path = Path(tempfile.mkdtemp(prefix=_NEW, dir=self._root))
            self._used[path.name] += 1
        try:
            yield path
        finally:
            with self._lock:
                del self._used[path.name]
            self._sweep(path)

    def _drop(self, name: str) -> None:
        """Out of the way in one step, unless somebody copies from it; then erased."""
        if not os.path.lexists(self._root / name):
            return
        with self._fresh() as fresh, self._lock, suppress(FileNotFoundError):
            if not self._used[name]:
                os.rename(self._root / name, fresh / "gone")

    def _sweep(self, path: Path) -> None:
        with self._lock:
            if self._used[path.name]:
                return
        with suppress(OSError, StepFailed):  # the next time, then
            erase(path)


def copy_folder(source: Path, target: Path) -> None:
    """A true copy, that shares blocks where the file system can and never an inode. StepFailed."""
    if not real_folder(source):
        raise WorkspaceFailure(f"{source} is gone, or no longer a folder")
    _run("cp", "-a", "--reflink=auto", "-T", "--", str(source), str(target))


def _run(*argv: str) -> None:
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COPY_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise WorkspaceFailure(f"{argv[0]} did not end within {_COPY_S:g} s") from exc
    if done.returncode != 0:
        raise from_words(f"{argv[0]} failed", done.stderr.decode("utf-8", "replace").strip()[-500:])
