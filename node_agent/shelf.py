"""Keeps the journal's records on disk: a folder per attempt, framed and checked, in space reserved before."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import threading
from binascii import crc32
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node_agent.durable import (
    HEADER,
    blank,
    framed,
    make_folder,
    preallocate,
    replace_reserved,
    sync_file,
    sync_folder,
    write_atomic,
    write_framed,
    write_frames,
)
from node_agent.ports import DiskFull

MARKS, LOSSY, NODE, ASIDE = "marks", "events", "node-state.json", ".damaged"
MARK_BYTES = 192 << 10
"""Reserved for all records after the first; a record is clipped by its writer to a few kB."""
RECEIPT_BYTES = 256 << 10
"""Reserved for the receipt, which stands between the marks."""
_RECEIPT = b"="
"""What a record begins with that is no mark, but the receipt."""
_HEAD = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8}\n")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FileShelf:
    """The Shelf of a real node, under `<home>/journal`. Follows no links."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root, self._base = root, str(root)
        self._ends: dict[tuple[str, str], int] = {}
        self._reserved: dict[str, int] = {}  # how long the file of marks is, as far as known
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        found = [entry for entry in os.scandir(self._root) if entry.is_dir(follow_symlinks=False)]
        found.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_ctime_ns)
        return [entry.name for entry in found if not entry.name.startswith(".")]

    def create(self, name: str, record: bytes) -> None:
        size = HEADER + len(record) + MARK_BYTES + RECEIPT_BYTES
        folder = self._root / name
        try:
            with _full():
                make_folder(folder)
                preallocate(self._at(name, MARKS), size)
                write_framed(self._at(name, MARKS), record)
                sync_folder(folder)
        except DiskFull:
            self.remove(name)
            raise
        self._set_end(name, MARKS, HEADER + len(record))
        self._reserved[name] = size

    def append(self, name: str, record: bytes, sync: bool = True) -> None:
        self._add(name, framed(record), sync)

    def seal(self, name: str, receipt: bytes, record: bytes) -> None:
        self._add(name, framed(_RECEIPT + receipt) + framed(record), sync=True)

    def put_back(self, name: str, receipt: bytes) -> None:
        """A receipt whose record is there, and that itself lay elsewhere."""
        self._add(name, framed(_RECEIPT + receipt), sync=True)

    def sync(self, name: str) -> None:
        sync_file(self._at(name, MARKS))

    def _add(self, name: str, frames: bytes, sync: bool) -> None:
        path, offset = self._at(name, MARKS), self._end(name, MARKS)
        end = offset + len(frames)
        with _full():
            if end > self._reserved.get(name, 0):
                preallocate(path, end)  # no effect while the reserve lasts
            write_frames(path, frames, offset, sync)
        self._set_end(name, MARKS, end)

    def append_lossy(self, name: str, record: bytes) -> None:
        path, offset = self._at(name, LOSSY), self._end(name, LOSSY)
        with _full():
            preallocate(path, offset + HEADER + len(record))
            write_framed(path, record, offset)
        self._set_end(name, LOSSY, offset + HEADER + len(record))

    def read(self, name: str) -> list[bytes]:
        records = _frames(self._at(name, MARKS), self._ends.get((name, MARKS)))[0]
        return [record for record in records if not record.startswith(_RECEIPT)]

    def is_damaged(self, name: str) -> bool:
        records, end = _frames(self._at(name, MARKS))
        begun = not records and bool(set(os.listdir(self._root / name)) - {MARKS, LOSSY})
        return begun or _is_damaged(self._at(name, MARKS), end)

    def read_lossy(self, name: str) -> list[bytes]:
        return _frames(self._at(name, LOSSY), self._ends.get((name, LOSSY)))[0]

    def receipt(self, name: str) -> bytes | None:
        path = self._at(name, MARKS)
        records, end = _frames(path, self._ends.get((name, MARKS)))
        if not any(record.startswith(_RECEIPT) for record in records):
            records = list(_behind(path, end))  # damage before it takes nothing from what it says
        sealed = [record for record in records if record.startswith(_RECEIPT)]
        return sealed[-1].removeprefix(_RECEIPT) if sealed else None

    def close(self, name: str) -> None:
        os.truncate(self._at(name, MARKS), self._end(name, MARKS))
        with self._lock:
            self._reserved.pop(name, None)

    def set_aside(self, name: str) -> str:
        target = self._aside(name)
        os.rename(self._root / name, target)
        return str(target)

    def mend(self, name: str) -> str:
        path = self._at(name, MARKS)
        kept = self._copied_aside(path, f"{name}.{MARKS}")
        sealed, (records, end) = self.receipt(name), _frames(path)
        moved = sealed is not None and _RECEIPT + sealed not in records
        with open(path, "rb") as file:
            good = file.read(end) + (framed(_RECEIPT + (sealed or b"")) if moved else b"")
        try:
            with _full():
                replace_reserved(path, good, len(good) + MARK_BYTES + RECEIPT_BYTES)
        except DiskFull:
            if moved:
                raise  # it cannot be moved in place: a crash in the middle might lose it
            blank(path, end)
        self._ends.pop((name, MARKS), None)
        self._reserved.pop(name, None)
        return kept

    def _copied_aside(self, path: str, name: str) -> str:
        """Where; nowhere on a full disk: what still lives goes before what is for a person to look at."""
        target = None
        try:
            with _full():
                target = self._aside(name)
                shutil.copyfile(path, target, follow_symlinks=False)
        except DiskFull:
            if target is not None:
                target.unlink(missing_ok=True)
            return ""
        return str(target)

    def remove(self, name: str) -> None:
        shutil.rmtree(self._root / name, ignore_errors=True)
        with self._lock:
            self._reserved.pop(name, None)
            for kind in (MARKS, LOSSY):
                self._ends.pop((name, kind), None)

    def drop(self, name: str, files: tuple[str, ...]) -> None:
        """Emptied, they stay for as long as the entry: a file system without a journal looks, at each file

        that is made, at every one that was deleted in the last minutes.
        """
        for file in {*os.listdir(f"{self._base}/{name}")} & {*files}:
            _empty(self._at(name, file))

    def folder(self, name: str) -> Path:
        return self._root / name

    def put_node(self, state: bytes) -> None:
        with _full():
            write_atomic(self._root / NODE, state)

    def node(self) -> bytes | None:
        try:
            return (self._root / NODE).read_bytes()
        except FileNotFoundError:
            return None

    def _at(self, name: str, file: str) -> str:
        return f"{self._base}/{name}/{file}"

    def _end(self, name: str, kind: str) -> int:
        known = self._ends.get((name, kind))
        return _frames(self._at(name, kind))[1] if known is None else known

    def _set_end(self, name: str, kind: str, end: int) -> None:
        with self._lock:
            self._ends[(name, kind)] = end

    def _aside(self, name: str) -> Path:
        folder = self._root / ASIDE
        folder.mkdir(mode=0o700, exist_ok=True)
        number = 1
        while os.path.lexists(folder / f"{name}.{number}"):
            number += 1
        return folder / f"{name}.{number}"


def _empty(path: str) -> None:
    """What is no plain file, such as a link, goes."""
    seen = os.lstat(path)
    if not stat.S_ISREG(seen.st_mode):
        os.unlink(path)
    elif seen.st_size:
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC))


def _frames(path: str, known_end: int | None = None) -> tuple[list[bytes], int]:
    """The good records from the start, and where they end. Behind a known end is only reserved space."""
    try:
        with open(path, "rb") as file:
            data = file.read(-1 if known_end is None else known_end)
    except FileNotFoundError:
        return [], 0
    records, offset = [], 0
    while (payload := _frame(data, offset)) is not None:
        records.append(payload)
        offset += HEADER + len(payload)
    return records, offset


def _frame(data: bytes, offset: int) -> bytes | None:
    """`durable.read_framed` over bytes that were read at once."""
    head = data[offset : offset + HEADER]
    try:
        length, checksum = int(head[:8], 16), int(head[9:17], 16)
    except ValueError:
        return None
    payload = data[offset + HEADER : offset + HEADER + length]
    whole = len(payload) == length and crc32(payload) == checksum and head[8:9] + head[17:] == b" \n"
    return payload if whole else None


def _is_damaged(path: str, end: int) -> bool:
    """Whether a whole record lies somewhere behind the good ones. If not, the last write was cut short."""
    return any(True for _ in _behind(path, end))


def _behind(path: str, end: int) -> Iterator[bytes]:
    """Whole records behind the good ones."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return
    for found in _HEAD.finditer(data, end):
        record = _frame(data, found.start())
        if record is not None:
            yield record


@contextmanager
def _full() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise DiskFull(str(exc)) from exc
        raise
