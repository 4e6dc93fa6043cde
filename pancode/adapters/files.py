"""Plain files of the coordinator: archived receipts, and files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from node_agent.wire.identity import AttemptId
from pancode.errors import UnavailableError

COPIED_S = 10
"""Our own write of a file and its renaming are not further apart, on a slow disk either."""


class FileArchive:
    """Countersigned receipts as `<root>/<run>/<attempt>.<fence>.json`: readable without the ledger."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def store(self, identity: AttemptId, envelope: str) -> None:
        """Durable when it returns; the same bytes again are no error. UnavailableError on a full disk."""
        try:
            write_durable(self.path(identity), envelope.encode())
        except OSError as exc:
            raise UnavailableError(
                "the receipt could not be archived", why=str(exc), fix="free disk space; nothing is lost"
            ) from exc

    def path(self, identity: AttemptId) -> Path:
        return self.root / identity.run / f"{identity.attempt}.{identity.fence}.json"


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


def write_durable(path: Path, data: bytes) -> None:
    """The file has these bytes or is as it was before, also after a power cut. Mode 0600."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
