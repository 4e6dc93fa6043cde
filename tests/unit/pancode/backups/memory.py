"""A node's folder of copies in memory, which fails, forgets and damages what it is told to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pancode.backups.hooks import BackupPorts, Backups
from pancode.backups.model import CopyRecord, NodeRecord, StoredObject
from pancode.config.schema import BackupSettings
from pancode.kernel.errors import NotFoundError, UnavailableError
from pancode.kernel.threads import BackgroundThread
from pancode.runs.core import Core


class MemoryCopies:
    """pancode.backups.model.CopyPlace and CopySource."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.copies: dict[str, bytes] = {}
        self.stamps: dict[str, int] = {}
        self.recipients: list[bytes] = []
        self.calls: list[str] = []
        self.fails_at = ""
        """The call that fails, as a node does whose link is lost."""
        self.ends_after = 1 << 30
        """How many objects it takes before the link is lost."""
        self.rots: set[int] = set()
        """The objects, counted from 1, that its disk damages as they are written."""
        self.digested: list[str] = []
        self.journal: list[str] = []
        self.stops: BackgroundThread | None = None
        """The thread that is stopped while it lists what is there."""
        self._puts = 0

    def prepare(self) -> None:
        self._call("prepare")

    def list_objects(self) -> Mapping[str, str]:
        self._call("list")
        if self.stops is not None:
            self.stops.stop()
        return {name: f"{len(data)} t{self.stamps[name]}" for name, data in self.objects.items()}

    def digest_objects(self, names: Collection[str]) -> Mapping[str, str]:
        self._call("digest")
        self.digested += names
        return {name: hashlib.sha256(self.objects[name]).hexdigest() for name in names}

    def put_object(self, name: str, data: bytes) -> None:
        self._call("put")
        self._puts += 1
        if self._puts > self.ends_after:
            raise UnavailableError("the connection to the node was lost")
        self.objects[name] = data[:-1] + b"?" if self._puts in self.rots else data
        self.stamps[name] = self._puts

    def put_recipient(self, data: bytes) -> None:
        self._call("recipient")
        self.recipients = [data, *(one for one in self.recipients if one != data)]

    def put_copy(self, name: str, data: bytes) -> str:
        self._call("copy")
        self.copies[name] = data
        return hashlib.sha256(data).hexdigest()

    def remove(self, copies: Collection[str], objects: Collection[str]) -> None:
        self._call("remove")
        for name in copies:
            self.copies.pop(name, None)
        for name in objects:
            self.objects.pop(name, None)

    def read_recipients(self) -> Sequence[bytes]:
        return self.recipients

    def list_copies(self) -> Collection[str]:
        return list(self.copies)

    def read_copy(self, name: str) -> bytes:
        return self.copies[name]

    def read_object(self, name: str) -> bytes:
        if name not in self.objects:
            raise NotFoundError(f"{name} is missing")
        return self.objects[name]

    def damage(self, name: str) -> None:
        """Change an object on its disk; its time of change shows it."""
        self.objects[name] = b"x" + self.objects[name][1:]
        self.stamps[name] += 1_000

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_at:
            raise UnavailableError("the connection to the node was lost")


def a_record(node: str) -> NodeRecord:
    """The record of a node with one verified copy."""
    name = "a" * 64
    copy = CopyRecord(
        name="c-00000001-x7k2pq",
        seat=0,
        sequence=1,
        taken_ms=1_790_000_000_000,
        verified_ms=1_790_000_001_000,
        size=1_000,
        sent=1_000,
        files=3,
        objects=(name,),
    )
    return NodeRecord(node=node, objects={name: StoredObject(size=1_000, plain=2_000)}, copies=(copy,))


def make_backups(
    core: Core, home: Path, settings: BackupSettings | None = None
) -> tuple[Backups, MemoryCopies]:
    """Return the part of a coordinator, and the folder of all its nodes."""
    place, chosen = MemoryCopies(), settings or BackupSettings()

    def find(node: str, stopping: threading.Event) -> MemoryCopies:
        return place

    return Backups(core, BackupPorts(home, lambda: chosen, find, lambda: 0)), place
