"""Measures the disk use of each folder in the node's home, in a thread separate from other work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from node_agent.wire.clock import Clock
from node_agent.wire.node import RoomFact

FOLDERS = ("work", "mirrors", "cache", "sessions", "salvage", "journal", "bundles")
EVERY_MS, MOST_S = 900_000, 600.0
MOST_COPIES = 64
MOST_TOLD = 16
_ATTEMPT = re.compile(r"work/r-[a-z0-9.-]{1,80}")
_KIB = 1024


def list_mirrors(home: Path) -> tuple[str, ...]:
    """Return the repositories with a mirror in this home, the most recently used first."""
    used = list[tuple[int, str]]()
    with suppress(OSError), os.scandir(home / "mirrors") as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                used.append((-entry.stat().st_mtime_ns, entry.name))
    return tuple(name for _, name in sorted(used)[:MOST_COPIES])


def set_ups(home: Path) -> tuple[str, ...]:
    """Return the repositories for which this home has a stored result of set-up."""
    found = set[str]()
    for about in (home / "cache").glob("*/about.json"):
        with suppress(OSError, ValueError, AttributeError):
            found.add(str(json.loads(about.read_bytes()).get("repository") or ""))
    return tuple(sorted(found - {""})[:MOST_COPIES])


class DiskUse:
    """The disk use as last measured. `du` runs in a thread, because reading all files may take long."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home, self._clock = home, clock
        self._measures = threading.Thread()
        self._due_ms = 0
        self._known: tuple[RoomFact, ...] = ()

    def look(self) -> tuple[RoomFact, ...]:
        """Return the folders, largest first, then those of attempts; empty before the first result. Never
        waits."""
        if not self._measures.is_alive() and self._clock.mono_ms() >= self._due_ms:
            self._due_ms = self._clock.mono_ms() + EVERY_MS
            self._measures = threading.Thread(target=self._measure, daemon=True)
            self._measures.start()
        return self._known

    def _measure(self) -> None:
        there = [name for name in FOLDERS if (self._home / name).is_dir()]
        with suppress(OSError, subprocess.TimeoutExpired):  # `du` is not installed: report nothing
            done = subprocess.run(
                ("du", "-kd1", "--", *there),
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=MOST_S,
            )
            self._known = _read(done.stdout) if there else ()


def _read(text: str) -> tuple[RoomFact, ...]:
    rows = (line.partition("\t") for line in text.splitlines())
    known = ((int(kib), name) for kib, _, name in rows if kib.isdigit())
    found = [
        RoomFact(what=name, bytes=kib * _KIB)
        for kib, name in known
        if name in FOLDERS or _ATTEMPT.fullmatch(name)
    ]
    return tuple(sorted(found, key=lambda one: ("/" in one.what, -one.bytes))[:MOST_TOLD])
