"""Stores the journal's records, compressed and checksummed: a folder per attempt, in reserved space."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node_agent.attempt.ports import DiskFull
from node_agent.files import durable
from node_agent.wire.packing import pack, read_text

MARKS, LOSSY, NODE, ASIDE = "marks", "events", "node-state.json", ".damaged"
MARK_BYTES = 192 << 10
"""The bytes reserved for all records after the first; writers limit each record to a few kB."""
RECEIPT_BYTES = 256 << 10
"""The bytes reserved for the receipt, which is written between the marks."""
SHORT_BYTES = 150
_RECEIPT = b"="
"""The first byte of a record that contains the receipt instead of a mark."""
_HEAD = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8}\n")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalFiles:
    """The storage of a real node under `<home>/journal`, with a folder per attempt. Follows no links."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root, self._base = root, str(root)
        self._ends: dict[tuple[str, str], int] = {}
        self._reserved: dict[str, int] = {}  # the known length of the file of marks
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        found = [entry for entry in os.scandir(self._root) if entry.is_dir(follow_symlinks=False)]
        found.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_ctime_ns)
        return [entry.name for entry in found if not entry.name.startswith(".")]

    def create(self, name: str, record: bytes) -> None:
        frame = _make_frame(record, signed=True)
        size = len(frame) + MARK_BYTES + RECEIPT_BYTES
        folder = self._root / name
        try:
            with _convert_full_error():
                durable.make_folder(folder)
                durable.preallocate(self._make_path(name, MARKS), size)
                durable.write_frames(self._make_path(name, MARKS), frame, 0, sync=True)
                durable.sync_folder(folder)
        except DiskFull:
            self.remove(name)
            raise
        self._set_end(name, MARKS, len(frame))
        self._reserved[name] = size

    def append(self, name: str, record: bytes, sync: bool = True) -> None:
        self._add(name, _make_frame(record), sync)

    def seal(self, name: str, receipt: bytes, record: bytes) -> None:
        self._add(name, _make_frame(_RECEIPT + receipt, signed=True) + _make_frame(record), sync=True)

    def sync(self, name: str) -> None:
        durable.write_frames(self._make_path(name, MARKS), b"", 0, sync=True)

    def _add(self, name: str, frames: bytes, sync: bool) -> None:
        path, offset = self._make_path(name, MARKS), self._end(name, MARKS)
        end = offset + len(frames)
        try:
            with _convert_full_error():
                if end > self._reserved.get(name, 0):
                    durable.preallocate(path, end)  # has no effect while reserved space is left
                durable.write_frames(path, frames, offset, sync)
        except (DiskFull, OSError):
            # the length is unknown now, because the content after the known end is uncertain
            self._reserved.pop(name, None)
            raise
        self._set_end(name, MARKS, end)

    def append_lossy(self, name: str, record: bytes) -> None:
        path, offset, frame = self._make_path(name, LOSSY), self._end(name, LOSSY), _make_frame(record)
        with _convert_full_error():
            durable.preallocate(path, offset + len(frame))
            durable.write_frames(path, frame, offset, sync=True)
        self._set_end(name, LOSSY, offset + len(frame))

    def read(self, name: str) -> list[bytes]:
        records = self._read_records(name)[0]
        return [record for record in records if not record.startswith(_RECEIPT)]

    def _read_records(self, name: str) -> tuple[list[bytes], int]:
        """Return all records, receipts included, and the offset of their end."""
        return _read_frames(self._make_path(name, MARKS), self._ends.get((name, MARKS)))

    def is_damaged(self, name: str) -> bool:
        records, end = _read_frames(self._make_path(name, MARKS))
        begun = not records and bool(set(os.listdir(self._root / name)) - {MARKS, LOSSY})
        # without a complete record after the valid ones, only the last write was interrupted
        return begun or next(_yield_later(self._make_path(name, MARKS), end), None) is not None

    def read_lossy(self, name: str) -> list[bytes]:
        return _read_frames(self._make_path(name, LOSSY), self._ends.get((name, LOSSY)))[0]

    def receipt(self, name: str) -> bytes | None:
        records, end = self._read_records(name)
        if not any(record.startswith(_RECEIPT) for record in records):
            # damage before the receipt does not affect it
            records = list(_yield_later(self._make_path(name, MARKS), end))
        sealed = [record for record in records if record.startswith(_RECEIPT)]
        return sealed[-1].removeprefix(_RECEIPT) if sealed else None

    def close(self, name: str) -> None:
        os.truncate(self._make_path(name, MARKS), self._end(name, MARKS))
        with self._lock:
            self._reserved.pop(name, None)

    def set_aside(self, name: str) -> str:
        target = self._make_aside_path(name)
        self._lose_sight_of(name)
        os.rename(self._root / name, target)
        return str(target)

    def repair(self, name: str) -> str:
        path = self._make_path(name, MARKS)
        kept = self._copied_aside(path, f"{name}.{MARKS}")
        sealed, (records, end) = self.receipt(name), _read_frames(path)
        moved = sealed is not None and _RECEIPT + sealed not in records
        with open(path, "rb") as file:
            good = file.read(end) + (_make_frame(_RECEIPT + (sealed or b""), signed=True) if moved else b"")
        try:
            with _convert_full_error():
                durable.replace_reserved(path, good, len(good) + MARK_BYTES + RECEIPT_BYTES)
        except DiskFull:
            if moved:
                raise  # the receipt cannot be moved in place: a crash during the move might lose it
            durable.blank_file(path, end)
        with self._lock:
            self._ends.pop((name, MARKS), None)
            self._reserved.pop(name, None)
        return kept

    def _copied_aside(self, path: str, name: str) -> str:
        """Copy damaged records for a user, except on a full disk, where live records have priority."""
        target = None
        try:
            with _convert_full_error():
                target = self._make_aside_path(name)
                shutil.copyfile(path, target, follow_symlinks=False)
        except DiskFull:
            if target is not None:
                target.unlink(missing_ok=True)
            return ""
        return str(target)

    def remove(self, name: str) -> None:
        shutil.rmtree(self._root / name, ignore_errors=True)
        self._lose_sight_of(name)

    def _lose_sight_of(self, name: str) -> None:
        with self._lock:
            self._reserved.pop(name, None)
            for kind in (MARKS, LOSSY):
                self._ends.pop((name, kind), None)

    def drop(self, name: str, files: tuple[str, ...]) -> None:
        for file in {*os.listdir(f"{self._base}/{name}")} & {*files}:
            path = self._make_path(name, file)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def folder(self, name: str) -> Path:
        return self._root / name

    def put_node(self, state: bytes) -> None:
        with _convert_full_error():
            durable.write_atomic(self._root / NODE, state)

    def node(self) -> bytes | None:
        try:
            return (self._root / NODE).read_bytes()
        except FileNotFoundError:
            return None

    def _make_path(self, name: str, file: str) -> str:
        return f"{self._base}/{name}/{file}"

    def _end(self, name: str, kind: str) -> int:
        known = self._ends.get((name, kind))
        return _read_frames(self._make_path(name, kind))[1] if known is None else known

    def _set_end(self, name: str, kind: str, end: int) -> None:
        with self._lock:
            self._ends[(name, kind)] = end

    def _make_aside_path(self, name: str) -> Path:
        folder = self._root / ASIDE
        folder.mkdir(mode=0o700, exist_ok=True)
        number = 1
        while os.path.lexists(folder / f"{name}.{number}"):
            number += 1
        return folder / f"{name}.{number}"


def _make_frame(record: bytes, signed: bool = False) -> bytes:
    """Return the record's frame. Compression gains nothing for short ones. `signed`: it has an envelope."""
    # a payload in other records comes from a program, and its bytes must not be on the disk as they are
    return durable.frame_record(pack(record, signed) if len(record) > SHORT_BYTES else record)


def _read_frames(path: str, known_end: int | None = None) -> tuple[list[bytes], int]:
    """Return the valid records from the start, and their end. After `known_end` is only reserved space."""
    data, records, offset = _read_file(path, known_end), [], 0
    while (payload := durable.frame_in(data, offset)) is not None:
        records.append(read_text(payload))
        offset += durable.HEADER + len(payload)
    return records, offset


def _read_file(path: str, length: int | None = None) -> bytes:
    """Return the first bytes of a file, by default all; an absent file has none."""
    try:
        with open(path, "rb") as file:
            return file.read(length)
    except FileNotFoundError:
        return b""


def _yield_later(path: str, end: int) -> Iterator[bytes]:
    """Yield the complete records after the valid ones."""
    data = _read_file(path)
    for found in _HEAD.finditer(data, end):
        record = durable.frame_in(data, found.start())
        if record is not None:
            yield read_text(record)


@contextmanager
def _convert_full_error() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise DiskFull(str(exc)) from exc
        raise
