"""Keeps the logs that nodes send, each grown by offset."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from node_agent.wire.git import checked_stream
from node_agent.wire.identity import AttemptId
from pancode.host.files import sync_folder

CHUNK = 1 << 18
MOST_LOGS = 64
"""Files of one attempt; nodes have a handful."""
KEEP_FREE = 256 << 20
"""Bytes of disk that no node may take from us: ledger and receipts are written there, too."""
Read = Callable[[int], bytes]
"""Up to so many bytes of what the node sends; empty at its end."""


class StreamRefused(Exception):
    """Bytes were not taken. `size` is what is stored of that log."""

    def __init__(self, why: str, size: int) -> None:
        super().__init__(why)
        self.size = size


class TornStream(Exception):
    """The sender went away in the middle; what came before it is kept."""


@dataclass(frozen=True, slots=True)
class LogStreams:
    """`<home>/logs/<run>/<attempt>.<fence>/<name>`."""

    home: Path
    keep_free: int = KEEP_FREE
    listeners: list[Callable[[str], None]] = field(default_factory=list, compare=False)
    """Called with the run whose logs have grown; they may not wait."""

    def log(self, identity: AttemptId, name: str) -> Path:
        """The path of a log; ValueError for a name that is not one plain file name."""
        folder = self.home / "logs" / identity.run / f"{identity.attempt}.{identity.fence}"
        return folder / checked_stream(name)

    def size(self, identity: AttemptId, name: str) -> int:
        """Bytes stored of a log, 0 when there is none."""
        try:
            return self.log(identity, name).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`, from the end if it is below 0; empty when there is nothing
        (yet)."""
        try:
            with self.log(identity, name).open("rb") as file:
                file.seek(offset if offset >= 0 else max(0, self.size(identity, name) + offset))
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def names(self, identity: AttemptId) -> list[str]:
        """The streams of an attempt that have at least begun to arrive."""
        folder = self.log(identity, "out").parent
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))

    def others(self, identity: AttemptId, name: str) -> int:
        """Bytes in all other logs of the attempt; StreamRefused when there is no place for one more."""
        folder = self.log(identity, name).parent
        with suppress(FileNotFoundError):
            sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder)}
            if name not in sizes and len(sizes) >= MOST_LOGS:
                raise StreamRefused(f"{len(sizes)} logs are stored, that is the most", 0)
            return sum(size for other, size in sizes.items() if other != name)
        return 0

    def full(self) -> str:
        """The reason why no more streams are accepted; empty while some are."""
        try:
            self.must_have_room(0)
        except OSError as exc:
            return str(exc)
        return ""

    def must_have_room(self, length: int) -> None:
        """OSError ENOSPC, as on a full disk, when storing that much would leave less than `keep_free`."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = os.statvfs(self.home)
        if state.f_bavail * state.f_frsize < length + self.keep_free:
            raise OSError(errno.ENOSPC, f"less than {self.keep_free} bytes would be left free")

    def append(self, identity: AttemptId, name: str, offset: int, length: int, read: Read) -> int:
        """Store `length` bytes at `offset` and give the new size; durable when it returns.

        Bytes that are there already must be the same, so a repeated call is no error. StreamRefused for a
        gap or a difference; TornStream when fewer bytes came, which are kept.
        """
        with self._open(identity, name) as file:
            stored = os.fstat(file).st_size
            if offset > stored:
                raise StreamRefused(f"gap: {stored} bytes are stored, {offset} was offered", stored)
            stored, at, different = os.fstat(file).st_size, offset, False
            for chunk in _chunks(length, read):
                known = min(len(chunk), max(0, stored - at))
                if known and os.pread(file, known, at) != chunk[:known]:
                    different = True
                if not different:
                    _write_all(file, chunk[known:], at + known)
                at += len(chunk)
            if different:
                # Read to the end all the same, so that the sender hears the answer.
                raise StreamRefused("other bytes are stored there", stored)
            size = max(stored, at)
        for listener in self.listeners:
            listener(identity.run)
        return size

    @contextmanager
    def _open(self, identity: AttemptId, name: str) -> Iterator[int]:
        path = self.log(identity, name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.fsync(file)
            os.close(file)
            sync_folder(path.parent)

    def digest(self, identity: AttemptId, name: str) -> tuple[int, str]:
        """Size and SHA-256 of a stored log; (0, that of nothing) when there is none."""
        path = self.log(identity, name)
        return _known_digest(path) if path.is_file() else (0, hashlib.sha256().hexdigest())

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether that log is here and whole."""
        with suppress(ValueError):
            if self.size(identity, name) == size and self.digest(identity, name) == (size, sha256):
                return size > 0 or self.log(identity, name).is_file()
        return False


def _write_all(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        at += written
        view = view[written:]


def _chunks(length: int, read: Read) -> Iterator[bytes]:
    left = length
    while left > 0:
        chunk = read(min(CHUNK, left))
        if not chunk:
            raise TornStream(f"{left} of {length} bytes did not come")
        left -= len(chunk)
        yield chunk


def _known_digest(path: Path) -> tuple[int, str]:
    """As `digest_of`, read once: a node may have us look at the same gigabyte with every receipt it sends."""
    state = path.stat()
    return _digest_once(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest_once(path: Path, inode: int, size: int, changed_ns: int) -> tuple[int, str]:
    return digest_of(path)


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    seen, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            seen.update(chunk)
            size += len(chunk)
    return size, seen.hexdigest()
