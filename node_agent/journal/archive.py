"""Keeps the records of attempts that are over in a few files, so that their folders may serve others."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node_agent.files.durable import HEADER, frame_in, framed, make_folder, sync_folder, write_at

SEGMENT_BYTES = 4 << 20
"""A file that is this long is not written to any more."""
_HEAD = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8}\n")
_NUMBER = re.compile(r"[0-9]{8}")
_NAME_ENDS = b"\n"
_SALT = 0x0E4D
"""The records within are frames, too: of what is damaged none of them is taken for one of ours."""


class Archive:
    """Numbered files of frames, each an attempt's name and its records as they stood in its own file.

    What was added last counts; nothing but its name says that it was let go. One process at a time writes;
    its threads may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._where: dict[str, tuple[int, int, int]] = {}
        """By name: the file's number, and where in it the records begin and end."""
        self._held: Counter[int] = Counter()
        """How many names have their records in each file."""
        self._ends: dict[int, int] = {}
        """Of each file, by its number."""
        self._durable = (0, 0)
        """Up to where all is: a file's number, and a place in it."""
        self._named = False
        self.sound = True
        """False after a sync that failed: the next one would say nothing of what that one has lost."""
        self._lock = threading.Lock()
        self.troubles: list[str] = []
        """What of it cannot be read, in words."""
        numbers = self._numbers()
        for number in numbers:
            self._index(number, is_last=number == numbers[-1])

    def names(self) -> list[str]:
        """Those that are kept, as they were added."""
        return list(self._where)

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def read(self, name: str) -> bytes | None:
        """The records, as they were added; None when it is not kept. OSError."""
        found = self._where.get(name)
        if found is None:
            return None
        number, begin, end = found
        with open(self._path(number), "rb", buffering=0) as file:
            return os.pread(file.fileno(), end - begin, begin)

    def add(self, name: str, records: bytes) -> None:
        """Durable with the next `sync`. OSError; then nothing was added."""
        with self._lock:
            number, end = self._put(name, records)
            self._now_at(name, (number, end - len(records), end))

    def sync(self, name: str | None = None) -> None:
        """Make all durable, also what a process before has added; or at least what `name` says. OSError."""
        with self._lock:
            number, _, end = self._where.get(name or "", (max(self._ends, default=0), 0, None))
            if not number or (end is not None and (number, end) <= self._durable):
                return
            self._sync(max(self._ends))  # older ones were, when it was begun
            if not self._named:
                for folder in (self._folder, os.path.dirname(self._folder)):
                    sync_folder(folder)
                self._named = True

    def remove(self, name: str) -> None:
        """Let it go. A file goes when nothing in it, or in an older one, is kept. OSError."""
        with self._lock:
            if name not in self._where:
                return
            self._put(name, b"")
            self._now_at(name, None)
            for number in sorted(self._ends)[:-1]:
                if self._held[number]:
                    return
                os.unlink(self._path(number))
                del self._ends[number]

    def _now_at(self, name: str, where: tuple[int, int, int] | None) -> None:
        before = self._where.pop(name, None)
        if before is not None:
            self._held[before[0]] -= 1
        if where is not None:
            self._where[name] = where
            self._held[where[0]] += 1

    def _put(self, name: str, records: bytes) -> tuple[int, int]:
        """The file's number, and where in it this ends."""
        number = self._newest()
        data, at = framed(os.fsencode(name) + _NAME_ENDS + records, _SALT), self._ends[number]
        with self._opened(number) as fd:
            write_at(fd, data, at)
        self._ends[number] = at + len(data)
        return number, at + len(data)

    def _sync(self, number: int) -> None:
        with self._opened(number) as fd:
            try:
                os.fdatasync(fd)
            except OSError:
                self.sound = False
                raise
        self._durable = number, self._ends[number]

    @contextmanager
    def _opened(self, number: int, how: int = 0) -> Iterator[int]:
        fd = os.open(self._path(number), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | how, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    def _newest(self) -> int:
        """The number of the file to write to."""
        number = max(self._ends, default=0)
        if number and self._ends[number] < SEGMENT_BYTES:
            return number
        if number:
            self._sync(number)
        make_folder(self._folder)
        with self._opened(number + 1, os.O_CREAT | os.O_EXCL):
            sync_folder(self._folder)
        self._ends[number + 1] = 0
        return number + 1

    def _numbers(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self._folder) if _NUMBER.fullmatch(name))
        except FileNotFoundError:
            return []

    def _index(self, number: int, is_last: bool) -> None:
        """In the last file a last frame that was cut short is none, and the next one takes its place."""
        with open(self._path(number), "rb") as file:
            data = file.read()
        end = 0
        for begin, payload in _frames(data):
            if begin != end:
                self.troubles.append(f"{begin - end} bytes of {self._path(number)} cannot be read")
            name, _, records = payload.partition(_NAME_ENDS)
            end = begin + HEADER + len(payload)
            self._now_at(os.fsdecode(name), (number, end - len(records), end) if records else None)
        self._ends[number] = end
        if end != len(data) and not is_last:
            self.troubles.append(f"{len(data) - end} bytes of {self._path(number)} cannot be read")

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:08}"


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(where it begins, what it holds); what is damaged is passed over."""
    at = 0
    while (found := _HEAD.search(data, at)) is not None:
        payload = frame_in(data, found.start(), _SALT)
        at = found.start() + 1 if payload is None else found.start() + HEADER + len(payload)
        if payload is not None:
            yield found.start(), payload
