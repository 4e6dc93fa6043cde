"""Plain files of the coordinator: archived receipts, and writes that leave a file whole or unchanged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pancode.kernel.errors import UnavailableError

if TYPE_CHECKING:
    from node_agent.wire.clock import Clock
    from node_agent.wire.identity import AttemptId

KEEP_FREE = 256 * 2**20
"""Bytes of disk that receipts which settle nothing must leave free, so that other receipts can settle."""
COPIED_S = 10
"""The most seconds between PanCode's write of a file and its rename, even on a slow disk."""


class FileArchive:
    """An archive of countersigned receipts as lines of JSON, one file per day, readable without the ledger.

    A line: `{"attempt": "RUN.ATTEMPT.LEASE", "receipt": ENVELOPE}`. A line that a crash has cut short stays;
    the next begins after it. A separate file per receipt would take a tenth of the time of settling.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root, self._clock = root, clock
        self._whole: Path | None = None
        """The file whose last line is known to be complete."""

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        """Store receipts, durable on return, with one sync of the disk. A receipt stored twice gets two
        lines. UnavailableError on a full disk; some of the receipts may be stored by then."""
        day = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC).date()
        path = self.root / f"{day}.jsonl"
        lines = "".join(f'{{"attempt":"{one}","receipt":{envelope}}}\n' for one, envelope in receipts)
        known, self._whole = self._whole, None
        try:
            append_durable(path, lines.encode(), whole=path == known)
        except OSError as exc:
            raise UnavailableError(
                "cannot archive the receipt",
                why=str(exc),
                fix="nothing is lost; free disk space (see: df), or check permissions",
            ) from exc
        self._whole = path

    def has_room(self) -> bool:
        try:
            return shutil.disk_usage(self.root if self.root.is_dir() else self.root.parent).free > KEEP_FREE
        except OSError:
            return False


class FileEpochs:
    """The store of the newest epoch: a small file next to the ledger, which backups leave out. It also has
    the file's own inode and modification time.

    A file that was restored from a backup anyway is another inode, or was modified at another time; and
    restoring resets the modification time, but never the change time. The change time alone proves nothing:
    new permissions or a hard link also change it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> int | None:
        """Return the epoch; None if the file is missing, damaged or copied from elsewhere."""
        try:
            words, state = self.path.read_text().split(), self.path.stat()
            epoch, *own = map(int, words)
        except (OSError, ValueError):
            return None
        is_own = own == [state.st_ino, state.st_mtime_ns]
        is_copied = not is_own and abs(state.st_ctime - state.st_mtime) > COPIED_S
        return None if is_copied or epoch < 1 or len(own) not in (0, 2) else epoch

    def keep(self, epoch: int) -> None:
        """Write the epoch to the file atomically and durably."""
        try:
            write_durable(self.path, lambda made: f"{epoch} {made.st_ino} {made.st_mtime_ns}\n".encode())
        except OSError as exc:
            raise UnavailableError(
                "cannot store the new epoch",
                why=str(exc),
                fix="nothing is lost; free disk space (see: df), or check permissions",
            ) from exc


def make_private(folder: Path) -> None:
    """Create the folder and its missing parents, accessible only by their owner. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    # mkdir with `parents` would leave the mode of the parents to the process's umask
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
    if not missing:
        folder.mkdir(exist_ok=True)  # raises FileExistsError if the path is not a directory


def append_durable(path: Path, lines: bytes, whole: bool) -> None:
    """Append these lines to the file so that they survive a power failure. The file gets mode 0600. `whole`:
    whether this process wrote the last line there completely, and no other has written since."""
    if not whole:
        make_private(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and not whole and os.pread(handle, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        _write(handle, lines)
        os.fdatasync(handle)
    finally:
        os.close(handle)
    # the process that created the file may have died before the file's name was durable
    if not (size and whole):
        sync_folder(path.parent)


def write_durable(path: Path, data: bytes | Callable[[os.stat_result], bytes]) -> None:
    """Replace the file's bytes, or leave the file unchanged, even at a power failure. It gets mode 0600.
    `data` may depend on the new file's inode and modification time."""
    make_private(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        made = os.fstat(handle)
        _write(handle, data if isinstance(data, bytes) else data(made))
        os.utime(handle, ns=(made.st_atime_ns, made.st_mtime_ns))
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(path)
    sync_folder(path.parent)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_folder(path: Path) -> None:
    """Sync the folder, so that the names in it survive a power failure."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
