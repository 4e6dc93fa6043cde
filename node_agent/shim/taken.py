"""Takes a phase's folder for one shim alone, and says who has it. What one before has left is nobody's.

Standard library only: the shim imports this at every start.
"""

from __future__ import annotations

import os
from binascii import crc32

from node_agent.files.durable import framed, read_frame, sync_folder

SPAWNED = "spawned"
_EARLIER = b"{"
"""What the record begins with that an earlier version wrote: not framed, and it salts nothing."""
_MOST = 4096


class Taken:
    """The folder as ours. `salt`: of all that its shim writes there."""

    def __init__(self, folder: str, record: bytes) -> None:
        self.folder, self._record, self.salt = folder, record, _salt(folder, record)

    @classmethod
    def take(cls, folder: str, record: bytes) -> Taken | None:
        """Durably; None, and nothing changed, when it is another's, or was. OSError."""
        fd, fresh = _opened(f"{folder}/{SPAWNED}")
        try:
            # Of two at once one waits until the other's record is there, or the other is gone.
            os.lockf(fd, os.F_LOCK, 0)
            if _record(fd, folder) is not None or not _is_there(fd, folder):
                return None
            os.pwrite(fd, framed(record, _salt(folder)), 0)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        if fresh:
            sync_folder(folder)
        return cls(folder, record)

    def renew(self) -> None:
        """Again, should it have been taken away meanwhile. OSError."""
        fd, fresh = _opened(f"{self.folder}/{SPAWNED}")
        try:
            if fresh:
                os.pwrite(fd, framed(self._record, _salt(self.folder)), 0)
        finally:
            os.close(fd)


def taken_by(folder: str) -> tuple[bytes, int] | None:
    """The record of the shim that has, or had, the folder, and its salt; None when none has. OSError.

    Without a salt (0) it names no folder: it would be believed in one of any name.
    """
    try:
        fd = os.open(f"{folder}/{SPAWNED}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return _record(fd, folder)
    finally:
        os.close(fd)


def _is_there(fd: int, folder: str) -> bool:
    """False for a folder that serves another since the file was opened: the attempt is over."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(f"{folder}/{SPAWNED}"))
    except FileNotFoundError:
        return False


def _record(fd: int, folder: str) -> tuple[bytes, int] | None:
    """A folder that has another name than when it was taken is nobody's."""
    record = read_frame(fd, 0, _salt(folder))
    if record is not None:
        return record, _salt(folder, record)
    earlier = os.pread(fd, _MOST, 0)
    return (earlier, 0) if earlier[:1] == _EARLIER else None


def _salt(folder: str, record: bytes = b"") -> int:
    """The name is in both: one shim serves many folders, and a folder many attempts, each by another name."""
    return crc32(record, crc32(os.fsencode(os.path.basename(folder))))


def _opened(path: str) -> tuple[int, bool]:
    """(the file, whether it is new)."""
    how = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, how), False
    except FileNotFoundError:
        return os.open(path, how | os.O_CREAT, 0o600), True
