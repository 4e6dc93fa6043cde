"""A place of copies in memory, which fails, forgets and damages what it is told to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from pancode.backups.hooks import BackupPorts, Backups
from pancode.backups.model import CopyRecord, FoundCopy, PlaceRecord
from pancode.backups.sealing import HEADED
from pancode.config.schema import BackupSettings
from pancode.kernel.errors import UnavailableError
from pancode.kernel.threads import BackgroundThread
from pancode.runs.core import Core


class MemoryCopies:
    """pancode.backups.model.CopyPlace."""

    def __init__(self, fleet: str = "f-abcdef") -> None:
        self.fleet = fleet
        self.copies: dict[str, bytes | None] = {}
        """Each file; None: it is a FIFO, a link or a device."""
        self.calls: list[str] = []
        self.fails_at = ""
        """The call that fails, as a node does whose link is lost."""
        self.rots = False
        """Its disk damages what is written."""
        self.stops: BackgroundThread | None = None
        """The thread that is stopped while the copy is made."""

    def prepare(self) -> None:
        self._call("prepare")
        if self.stops is not None:
            self.stops.stop()

    def digest(self, names: Collection[str]) -> Mapping[str, str]:
        self._call("digest")
        there = {name: data for name in names if (data := self.copies.get(name)) is not None}
        return {name: hashlib.sha256(data).hexdigest() for name, data in there.items()}

    def put(self, name: str, source: Path) -> None:
        self._call("put")
        data = source.read_bytes()
        self.copies[name] = data[:-1] + bytes([data[-1] ^ 1]) if self.rots else data

    def remove(self, names: Collection[str]) -> None:
        self._call("remove")
        for name in names:
            self.copies.pop(name, None)

    def look(self) -> Collection[FoundCopy]:
        return [
            FoundCopy(self.fleet, name, None if data is None else len(data), (data or b"")[:HEADED])
            for name, data in self.copies.items()
        ]

    def get(self, found: FoundCopy, target: Path) -> None:
        self._call("get")
        data = self.copies[found.name]
        assert data is not None, "what is not a regular file is not opened"
        target.write_bytes(data)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_at:
            raise UnavailableError("the connection to the node was lost")


def a_copy(number: int = 1, base: CopyRecord | None = None, **changes: object) -> CopyRecord:
    """A verified copy, based on this one."""
    facts: dict[str, object] = {
        **{"fleet": "f-abcdef", "name": f"c-{number:08d}-x7k2pq", "seat": 0, "sequence": number},
        **{"taken_ms": 1_790_000_000_000, "verified_ms": 1_790_000_001_000, "digest": "a" * 64},
        **{"base": base.name if base else "", "part": base.part + 1 if base else 1},
        **{"size": 1_000, "plain": 2_000, "files": 3, "key": "k", "pancode": "1"},
    }
    return CopyRecord.model_validate({**facts, **changes})


def a_record(place: str) -> PlaceRecord:
    """The record of a place with one verified copy."""
    return PlaceRecord(place=place, copies=(a_copy(),), last=1)


def make_backups(
    core: Core, home: Path, settings: BackupSettings | None = None
) -> tuple[Backups, MemoryCopies]:
    """Return the part of a coordinator, and what all its places are."""
    place, chosen = MemoryCopies(core.fleet), settings or BackupSettings()

    def find(name: str, stopping: threading.Event) -> MemoryCopies:
        return place

    return Backups(core, BackupPorts(home, lambda: chosen, find, lambda: 0)), place
