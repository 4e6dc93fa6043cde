"""Plain files of the coordinator: archived receipts, and files that are whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId
from pancode.errors import UnavailableError

KEEP_FREE = 256 * 2**20
"""Receipts that settle nothing leave this much room for those that do."""
COPIED_S = 10
"""Our own write of a file and its renaming are not further apart, on a slow disk either."""


class FileArchive:
    """Countersigned receipts, a line of JSON each, in a file for each day: readable without the ledger.

    `{"attempt": "RUN.ATTEMPT.FENCE", "receipt": ENVELOPE}`. A line that a crash has cut short stays, and the
    next begins behind it. A folder and a file for each would cost a tenth of all of the settling.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root, self._clock = root, clock
        self._whole: Path | None = None
        """The file that is known to end with a whole line."""

    def store(self, receipts: Sequence[tuple[AttemptId, str]]) -> None:
        """Durable when it returns, by one wait for the disk; the same again is another line.

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
                "the receipt could not be archived", why=str(exc), fix="free disk space; nothing is lost"
            ) from exc
        self._whole = path

    def has_room(self) -> bool:
        try:
            return shutil.disk_usage(self.root if self.root.is_dir() else self.root.parent).free > KEEP_FREE
        except OSError:
            return False


class FileEpochs:
    """A small file beside the ledger, which a backup leaves out.

    One that a backup put back after all is told by its times: what restores a file sets back when it was
    written, never when it was last touched.
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
        """The file, whole and durable."""
        try:
            write_durable(self.path, f"{epoch}\n".encode())
        except OSError as exc:
            raise UnavailableError(
                "the new epoch could not be kept", why=str(exc), fix="free disk space; nothing is lost"
            ) from exc


def make_private(folder: Path) -> None:
    """The folder is there, and it and those above it that were missing are for their owner alone. OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):  # `parents` of mkdir leaves those above to the umask
        one.mkdir(mode=0o700, exist_ok=True)
    if not missing:
        folder.mkdir(exist_ok=True)  # FileExistsError for what is no folder


def append_durable(path: Path, lines: bytes, whole: bool) -> None:
    """These lines are at the end of the file, also after a power cut. Mode 0600.

    `whole`: this process has put whole lines there, and nothing else since.
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
    """The file has these bytes or is as it was before, also after a power cut. Mode 0600."""
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
    """The names in it outlive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
