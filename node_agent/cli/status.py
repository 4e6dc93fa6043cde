"""Shows the state of a node's home without changing it: whether an agent runs, and every attempt."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.attempt.records import JournalRecord, folded, opened
from node_agent.files.durable import from_json
from node_agent.home.settings import NodeHome, current_link
from node_agent.journal.storage import JournalFiles
from node_agent.wire.identity import HOLDS_SLOT


@dataclass(frozen=True, slots=True)
class HomeReport:
    """The state of a node's home. `unreadable`: journal folders that make no sense."""

    running: bool
    pid: int | None
    linked: bool
    entries: tuple[JournalRecord, ...]
    unreadable: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "running": self.running,
            "pid": self.pid,
            "linked": self.linked,
            "attempts": [
                {
                    "identity": str(entry.identity),
                    "mark": entry.mark.value,
                    "holds_slot": entry.mark in HOLDS_SLOT,
                    "done": entry.cleaned,
                    "stop": entry.stop.reason if entry.stop else None,
                }
                for entry in self.entries
            ],
            "unreadable": list(self.unreadable),
        }


def look(home: NodeHome) -> HomeReport:
    """Reads only; the journal may be in use."""
    entries, unreadable = [], []
    if home.journal.is_dir():
        storage = JournalFiles(home.journal)
        for name in storage.names():
            try:
                entries.append(_entry(storage, name))
            except (ValueError, KeyError, IndexError, TypeError):
                if storage.folder(name).exists():  # else it serves another attempt meanwhile
                    unreadable.append(name)
    running = is_held(home.lock)
    return HomeReport(
        running=running,
        pid=_pid(home.pid) if running else None,
        linked=current_link(home.links) is not None,
        entries=tuple(entries),
        unreadable=tuple(unreadable),
    )


def is_held(lock: Path) -> bool:
    """Check whether an agent holds this home now."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _entry(storage: JournalFiles, name: str) -> JournalRecord:
    records = [from_json(raw) for raw in storage.read(name)]
    entry = opened(records[0])
    for record in records[1:]:
        entry = folded(entry, record)
    return entry


def _pid(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
