"""Plain files of the coordinator: archived receipts, and the logs and artifacts that nodes have delivered."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from node_agent.wire.identity import AttemptId
from pancode.errors import UnavailableError

_PIECE = 1 << 20


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


class BlobFolder:
    """Delivered streams as `<root>/<run>/<attempt>.<fence>/<name>`; the depot server writes them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, identity: AttemptId, name: str) -> Path:
        """Where that stream lies. ValueError for a name that is no plain file name."""
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise ValueError(f"not a stream's name: {name!r}")
        return self.root / identity.run / f"{identity.attempt}.{identity.fence}" / name

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether it is here in full, to its digest."""
        try:
            path = self.path(identity, name)
            return path.stat().st_size == size and digest_of(path) == sha256
        except (OSError, ValueError):
            return False

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`; empty when there is nothing (yet)."""
        try:
            with self.path(identity, name).open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def names(self, identity: AttemptId) -> list[str]:
        """The streams of an attempt that have at least begun to arrive."""
        folder = self.root / identity.run / f"{identity.attempt}.{identity.fence}"
        try:
            return sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
        except FileNotFoundError:
            return []


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            seen.update(piece)
    return seen.hexdigest()


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
