"""Plain files of the coordinator: archived receipts, and files that are whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import UnavailableError

KEEP_FREE = 256 * 2**20
"""Receipts that settle nothing leave so many bytes free for those that do."""
COPIED_S = 10
"""Seconds that our write of a file and its renaming are apart at most, even on a slow disk."""


class FileArchive:
    """Countersigned receipts, a line of JSON each, in a file for each day: readable without the ledger.

    `{"attempt": "RUN.ATTEMPT.LEASE", "receipt": ENVELOPE}`. A line that a crash has cut short stays, and the
    next one begins after it. A folder and a file for each receipt would cost a tenth of settling.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root, self._clock = root, clock
        self._whole: Path | None = None
        """The file whose last line is known to be whole."""

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        """Store receipts, durable on return, by one wait for the disk; equal ones get another line.

        UnavailableError on a full disk: some of them may be there.
        """
        day = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC).date()
        path = self.root / f"{day}.jsonl"
        lines = "".join(f'{{"attempt":"{one}","receipt":{envelope}}}\n' for one, envelope in receipts)
        known, self._whole = self._whole, None
        try:
            append_durable(path, lines.encode(), whole=path == known)
        except OSError as exc:
            raise UnavailableError(
                "cannot archive the receipt", why=str(exc), fix="free disk space; nothing is lost"
            ) from exc
        self._whole = path

    def has_room(self) -> bool:
        try:
            return shutil.disk_usage(self.root if self.root.is_dir() else self.root.parent).free > KEEP_FREE
        except OSError:
            return False


class FileEpochs:
    """The newest epoch in a small file beside the ledger, which a backup leaves out.

    A file that a backup put back nevertheless is known by its times: restoring a file sets back its time of
    writing, never its time of change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> int | None:
        """The epoch; None for a file that is missing, damaged or copied here."""
        try:
            epoch, state = int(self.path.read_text()), self.path.stat()
        except (OSError, ValueError):
            return None
        copied = abs(state.st_ctime - state.st_mtime) > COPIED_S
        return None if copied or epoch < 1 else epoch

    def keep(self, epoch: int) -> None:
        """Write the file, whole and durable."""
        try:
            write_durable(self.path, f"{epoch}\n".encode())
        except OSError as exc:
            raise UnavailableError(
                "cannot store the new epoch", why=str(exc), fix="free disk space; nothing is lost"
            ) from exc


def make_private(folder: Path) -> None:
    """Make the folder; it and missing ones above it are for their owner alone. OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):  # `parents` of mkdir leaves those above to the umask
        one.mkdir(mode=0o700, exist_ok=True)
    if not missing:
        folder.mkdir(exist_ok=True)  # FileExistsError for what is not a directory


def append_durable(path: Path, lines: bytes, whole: bool) -> None:
    """Append these lines to the file, so that they outlive a power cut. Mode 0600.

    `whole`: this process has put whole lines there, and nothing else has written since.
    """
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
    if not (size and whole):  # whoever made the file may have ended before its name was durable
        sync_folder(path.parent)


def write_durable(path: Path, data: bytes) -> None:
    """Replace the file's bytes, or leave it as it was, also at a power cut. Mode 0600."""
    make_private(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write(handle, data)
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
    """Make the names in the folder outlive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
