"""The journal's records in memory."""

from __future__ import annotations

from pathlib import Path

from node_agent.attempt.ports import DiskFull


class MemoryShelf:
    """A Shelf whose contents are this object: hand it to the next node agent after a crash."""

    def __init__(self) -> None:
        self.records: dict[str, list[bytes]] = {}
        self.loose: dict[str, int] = {}
        """How many of the newest records a power cut would take."""
        self.lossy: dict[str, list[bytes]] = {}
        self.receipts: dict[str, bytes] = {}
        self.state: bytes | None = None
        self.damaged: set[str] = set()
        self.aside: list[str] = []
        self.dropped: set[str] = set()
        """Outputs that were let go."""
        self.full = False
        """Nothing more fits, but for what was reserved."""

    def names(self) -> list[str]:
        return list(self.records)

    def create(self, name: str, record: bytes) -> None:
        self._room()
        self.records[name] = [record]

    def append(self, name: str, record: bytes, sync: bool = True) -> None:
        self.records[name].append(record)
        self.loose[name] = 0 if sync else self.loose.get(name, 0) + 1

    def seal(self, name: str, receipt: bytes, record: bytes) -> None:
        self.receipts[name] = receipt
        self.append(name, record)

    def sync(self, name: str) -> None:
        self.loose.pop(name, None)

    def power_cut(self) -> None:
        """What was not synced is gone."""
        for name, count in self.loose.items():
            if name in self.records and count:
                del self.records[name][-count:]
        self.loose.clear()

    def append_lossy(self, name: str, record: bytes) -> None:
        self._room()
        self.lossy.setdefault(name, []).append(record)

    def read(self, name: str) -> list[bytes]:
        return list(self.records[name])

    def is_damaged(self, name: str) -> bool:
        return name in self.damaged

    def read_lossy(self, name: str) -> list[bytes]:
        return list(self.lossy.get(name, ()))

    def receipt(self, name: str) -> bytes | None:
        return self.receipts.get(name)

    def close(self, name: str) -> None:
        return

    def set_aside(self, name: str) -> str:
        self.remove(name)
        self.aside.append(name)
        return f"aside/{name}"

    def repair(self, name: str) -> str:
        self.damaged.discard(name)
        self.aside.append(f"{name}.marks")
        return f"aside/{name}.marks"

    def remove(self, name: str) -> None:
        for part in (self.records, self.lossy, self.receipts):
            part.pop(name, None)
        self.damaged.discard(name)

    def drop(self, name: str, files: tuple[str, ...]) -> None:
        self.dropped.update(f"{name}/{file}" for file in files)

    def folder(self, name: str) -> Path:
        return Path("/journal") / name

    def put_node(self, state: bytes) -> None:
        self._room()
        self.state = state

    def node(self) -> bytes | None:
        return self.state

    def _room(self) -> None:
        if self.full:
            raise DiskFull("the shelf is full")
