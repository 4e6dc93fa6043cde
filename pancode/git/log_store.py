"""Stores the logs that nodes send; each log grows by appends at an offset."""

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
from pancode.kernel.formatting import format_bytes
from pancode.kernel.host.files import sync_folder

CHUNK = 1 << 18
MOST_LOGS = 64
"""The most log files of one attempt; nodes usually send only a few."""
KEEP_FREE = 256 << 20
"""Bytes of disk that logs must leave free, because the ledger and receipts are written there too."""
Read = Callable[[int], bytes]
"""Reads up to this many bytes of what the node sends; empty at the end."""


class StreamRefused(Exception):
    """A refused append to a log. `size`: how many bytes of that log are stored."""

    def __init__(self, why: str, size: int) -> None:
        super().__init__(why)
        self.size = size


class TornStream(Exception):
    """A disconnect of the sender before all bytes came; the received bytes are stored."""


@dataclass(frozen=True, slots=True)
class LogStreams:
    """The logs of attempts: `<home>/logs/<run>/<attempt>.<lease>/<name>`."""

    home: Path
    keep_free: int = KEEP_FREE
    listeners: list[Callable[[str], None]] = field(default_factory=list, compare=False)
    """Called with the id of a run whose logs have grown; a callback must not block."""

    def log(self, identity: AttemptId, name: str) -> Path:
        """Return the path of a log; ValueError for a name that is not a plain file name."""
        folder = self.home / "logs" / identity.run / f"{identity.attempt}.{identity.lease}"
        return folder / checked_stream(name)

    def size(self, identity: AttemptId, name: str) -> int:
        """Return how many bytes of a log are stored; 0 if there is none."""
        try:
            return self.log(identity, name).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset` (from the end if negative); empty if there are none."""
        try:
            with self.log(identity, name).open("rb") as file:
                file.seek(offset if offset >= 0 else max(0, self.size(identity, name) + offset))
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def names(self, identity: AttemptId) -> list[str]:
        """Return the names of an attempt's logs of which at least a part is stored."""
        folder = self.log(identity, "out").parent
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))

    def others(self, identity: AttemptId, name: str) -> int:
        """Return the size of all the attempt's other logs. StreamRefused at the maximum number of logs."""
        folder = self.log(identity, name).parent
        with suppress(FileNotFoundError):
            sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder)}
            if name not in sizes and len(sizes) >= MOST_LOGS:
                raise StreamRefused(f"{len(sizes)} logs are stored, which is the maximum", 0)
            return sum(size for other, size in sizes.items() if other != name)
        return 0

    def full(self) -> str:
        """Return why no more streams are accepted (the disk is full); empty while streams are accepted."""
        try:
            self.must_have_room(0)
        except OSError as exc:
            return str(exc.strerror)
        return ""

    def must_have_room(self, length: int) -> None:
        """Raise OSError ENOSPC if storing `length` bytes would leave less than `keep_free` on the disk."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = os.statvfs(self.home)
        if state.f_bavail * state.f_frsize < length + self.keep_free:
            free = f"{format_bytes(state.f_bavail * state.f_frsize)} free at {self.home}"
            raise OSError(errno.ENOSPC, f"{free}, and {format_bytes(self.keep_free)} must stay free")

    def append(self, identity: AttemptId, name: str, offset: int, length: int, read: Read) -> int:
        """Store `length` bytes at `offset` and return the new size; the bytes are then synced to disk.

        Bytes that are already stored must be equal, so a repeated call is not an error. Raises StreamRefused
        for a gap or a difference, TornStream if fewer bytes came (those are stored).
        """
        with self._open(identity, name) as file:
            stored = os.fstat(file).st_size
            if offset > stored:
                raise StreamRefused(
                    f"gap: {stored} bytes are stored, but the append starts at {offset}", stored
                )
            stored, at, different = os.fstat(file).st_size, offset, False
            for chunk in _read_chunks(length, read):
                known = min(len(chunk), max(0, stored - at))
                if known and os.pread(file, known, at) != chunk[:known]:
                    different = True
                if not different:
                    _write_all(file, chunk[known:], at + known)
                at += len(chunk)
            if different:
                # Read to the end first, so that the sender receives the answer.
                raise StreamRefused("different bytes are already stored there", stored)
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
        """Return the size and SHA-256 of a stored log; 0 and the SHA-256 of no bytes if there is none."""
        path = self.log(identity, name)
        return _known_digest(path) if path.is_file() else (0, hashlib.sha256().hexdigest())

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether this log is stored completely, which its size and digest show."""
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


def _read_chunks(length: int, read: Read) -> Iterator[bytes]:
    left = length
    while left > 0:
        chunk = read(min(CHUNK, left))
        if not chunk:
            raise TornStream(f"{left} of {length} bytes did not arrive")
        left -= len(chunk)
        yield chunk


def _known_digest(path: Path) -> tuple[int, str]:
    """Return `digest_of` from a cache, as a node may name the same gigabyte in every receipt it sends."""
    state = path.stat()
    return _digest_once(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest_once(path: Path, inode: int, size: int, changed_ns: int) -> tuple[int, str]:
    return digest_of(path)


def digest_of(path: Path) -> tuple[int, str]:
    """Return the size and SHA-256 of a file."""
    seen, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            seen.update(chunk)
            size += len(chunk)
    return size, seen.hexdigest()
