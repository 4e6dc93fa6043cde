"""Keeps the journal's records on disk: a folder per attempt, framed and checked, in space reserved before."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from node_agent.attempt.ports import DiskFull
from node_agent.files.durable import (
    HEADER,
    blank,
    frame_in,
    framed,
    make_folder,
    preallocate,
    replace_reserved,
    sync_folder,
    write_at,
    write_atomic,
    write_framed,
    write_frames,
)
from node_agent.journal.archive import Archive
from node_agent.journal.spares import Spare, Spares, empty, is_held

MARKS, LOSSY, NODE, ASIDE, OVER = "marks", "events", "node-state.json", ".damaged", ".over"
MARK_BYTES = 192 << 10
"""Reserved for all records after the first; a record is clipped by its writer to a few kB."""
RECEIPT_BYTES = 256 << 10
"""Reserved for the receipt, which stands between the marks."""
MOST_OPEN = 64
"""Files of marks that are kept open: more attempts wait for an answer only while the coordinator is away."""
_RECEIPT = b"="
"""What a record begins with that is no mark, but the receipt."""
_HEAD = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8}\n")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FileShelf:
    """The Shelf of a real node, under `<home>/journal`. Follows no links.

    A folder for each attempt; of one that is over only its records are kept, with others', where its folder
    may serve another.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root, self._base = root, str(root)
        self._ends: dict[tuple[str, str], int] = {}
        self._reserved: dict[str, int] = {}  # how long the file of marks is, as far as known
        self._open: dict[str, int] = {}
        weakref.finalize(self, _shut_all, self._open)
        self._lock = threading.Lock()
        self._over = Archive(root / OVER)
        self._spares = Spares(self._base, self._over)

    def names(self) -> list[str]:
        found = []
        for entry in os.scandir(self._root):
            with suppress(FileNotFoundError):  # another process may give it to another attempt meanwhile
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    found.append((entry.stat(follow_symlinks=False).st_ctime_ns, entry.name))
        return [*self._over.names(), *(name for _, name in sorted(found) if name not in self._over)]

    def create(self, name: str, record: bytes) -> None:
        size = HEADER + len(record) + MARK_BYTES + RECEIPT_BYTES
        spare = self._spares.take()
        if spare is None or not self._made_of(spare, name, record, size):
            self._make(name, record, size)
        self._set_end(name, MARKS, HEADER + len(record))
        self._reserved[name] = size

    def _make(self, name: str, record: bytes, size: int) -> None:
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

    def _made_of(self, spare: Spare, name: str, record: bytes, size: int) -> bool:
        """Under its new name only with its new record, behind which nothing of before is left.

        False: somebody has done something to the folder, or has a file of it still; it is gone.
        """
        path, first = self._at(spare.name, MARKS), framed(record)
        before, after = f"{self._base}/{spare.name}", f"{self._base}/{name}"
        try:
            with _full():
                preallocate(path, size)
                write_frames(path, first + bytes(max(0, spare.end - len(first))), 0, sync=True)
                os.rename(before, after)
                if is_held(after):  # by nobody else, from here on: its old name leads nowhere
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), after)
                sync_folder(self._root)
        except (DiskFull, OSError) as exc:
            if isinstance(exc, DiskFull) and os.path.exists(before):
                self._spares.give_back(Spare(spare.name, max(spare.end, len(first))))
                raise
            for folder in (before, after):  # or the next node agent would find it, and begin what was refused
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(exc, DiskFull):
                raise
            return False
        return True

    def append(self, name: str, record: bytes, sync: bool = True) -> None:
        self._add(name, framed(record), sync)

    def seal(self, name: str, receipt: bytes, record: bytes) -> None:
        self._add(name, framed(_RECEIPT + receipt) + framed(record), sync=True)

    def sync(self, name: str) -> None:
        if name in self._over:
            self._over.sync(name)
        else:
            with self._marks(name) as fd:
                os.fdatasync(fd)

    def _add(self, name: str, frames: bytes, sync: bool) -> None:
        path, offset = self._at(name, MARKS), self._end(name, MARKS)
        end = offset + len(frames)
        try:
            with _full():
                if end > self._reserved.get(name, 0):
                    preallocate(path, end)  # no effect while the reserve lasts
                with self._marks(name) as fd:
                    write_at(fd, frames, offset)
                    if sync:
                        os.fdatasync(fd)
        except (DiskFull, OSError):
            self._reserved.pop(name, None)  # nobody knows any more what stands behind its end
            raise
        self._set_end(name, MARKS, end)

    @contextmanager
    def _marks(self, name: str) -> Iterator[int]:
        """Its file of marks for writing, which stays open while it is among few. OSError when it is gone."""
        with self._lock:
            fd = self._open.get(name)
            if fd is None:
                fd = os.open(self._at(name, MARKS), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                if kept := len(self._open) < MOST_OPEN:
                    self._open[name] = fd
            else:
                kept = True
        try:
            if not os.fstat(fd).st_nlink:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._at(name, MARKS))
            yield fd
        finally:
            if not kept:
                os.close(fd)

    def append_lossy(self, name: str, record: bytes) -> None:
        path, offset = self._at(name, LOSSY), self._end(name, LOSSY)
        with _full():
            preallocate(path, offset + HEADER + len(record))
            write_framed(path, record, offset)
        self._set_end(name, LOSSY, offset + HEADER + len(record))

    def read(self, name: str) -> list[bytes]:
        records = self._records(name)[0]
        return [record for record in records if not record.startswith(_RECEIPT)]

    def _records(self, name: str) -> tuple[list[bytes], int]:
        """All, receipts too, and where they end."""
        over = self._over.read(name)
        if over is not None:
            return _frames_in(over)
        found = _frames(self._at(name, MARKS), self._ends.get((name, MARKS)))
        over = self._over.read(name)  # put there meanwhile: its folder may have been another's by then
        return found if over is None else _frames_in(over)

    def is_damaged(self, name: str) -> bool:
        if name in self._over:
            return False  # it was whole when it was put there
        records, end = _frames(self._at(name, MARKS))
        begun = not records and bool(set(os.listdir(self._root / name)) - {MARKS, LOSSY})
        return begun or _is_damaged(self._at(name, MARKS), end)

    def read_lossy(self, name: str) -> list[bytes]:
        return _frames(self._at(name, LOSSY), self._ends.get((name, LOSSY)))[0]

    def receipt(self, name: str) -> bytes | None:
        records, end = self._records(name)
        if not any(record.startswith(_RECEIPT) for record in records):
            records = list(
                _behind(self._at(name, MARKS), end)
            )  # damage before it takes nothing from what it says
        sealed = [record for record in records if record.startswith(_RECEIPT)]
        return sealed[-1].removeprefix(_RECEIPT) if sealed else None

    def close(self, name: str) -> None:
        if self._is_archived(name):
            self._lose_sight_of(name)
            return
        os.truncate(self._at(name, MARKS), self._end(name, MARKS))
        with self._lock:
            self._reserved.pop(name, None)
            self._shut(name)

    def _is_archived(self, name: str) -> bool:
        """Whether its records are with others' now, its folder free: not where no need is, or no room.

        Nor where the folder was begun by a node agent before: it may have been another version of this one.
        """
        try:
            end = self._end(name, MARKS)
            if name not in self._reserved or not self._spares.has_room(name):
                return False
            with open(self._at(name, MARKS), "rb") as file:
                records = file.read(end)
            if _frames_in(records)[1] != end:  # somebody was at it
                return False
            self._over.add(name, records)
            self._spares.keep(name, end)
        except OSError:
            return name in self._over
        return True

    def set_aside(self, name: str) -> str:
        target, over = self._aside(name), self._over.read(name)
        if over is None:
            self._lose_sight_of(name)
            os.rename(self._root / name, target)
        else:
            target.write_bytes(over)
            self.remove(name)
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
        with self._lock:
            self._ends.pop((name, MARKS), None)
            self._reserved.pop(name, None)
            self._shut(name)
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
        if name in self._over:
            with suppress(OSError):  # else it is there again, and goes again, at the next start
                self._over.remove(name)
            self._spares.forget(name)
        else:
            shutil.rmtree(self._root / name, ignore_errors=True)
        self._lose_sight_of(name)

    def _shut(self, name: str) -> None:
        fd = self._open.pop(name, None)
        if fd is not None:
            os.close(fd)

    def _lose_sight_of(self, name: str) -> None:
        with self._lock:
            self._shut(name)
            self._reserved.pop(name, None)
            for kind in (MARKS, LOSSY):
                self._ends.pop((name, kind), None)

    def troubles(self) -> list[str]:
        return list(self._over.troubles)

    def drop(self, name: str, files: tuple[str, ...]) -> None:
        """Emptied, they stay for as long as the entry: a file system without a journal looks, at each file

        that is made, at every one that was deleted in the last minutes.
        """
        for file in {*os.listdir(f"{self._base}/{name}")} & {*files}:
            empty(self._at(name, file))

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


def _shut_all(files: dict[str, int]) -> None:
    for fd in files.values():
        os.close(fd)


def _frames(path: str, known_end: int | None = None) -> tuple[list[bytes], int]:
    """The good records from the start, and where they end. Behind a known end is only reserved space."""
    try:
        with open(path, "rb") as file:
            data = file.read(-1 if known_end is None else known_end)
    except FileNotFoundError:
        return [], 0
    return _frames_in(data)


def _frames_in(data: bytes) -> tuple[list[bytes], int]:
    records, offset = [], 0
    while (payload := frame_in(data, offset)) is not None:
        records.append(payload)
        offset += HEADER + len(payload)
    return records, offset


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
        record = frame_in(data, found.start())
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
