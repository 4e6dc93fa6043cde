"""Decides the state of a phase: by the records in its folder, and by whether its shim still lives."""

from __future__ import annotations

import os
from pathlib import Path

from node_agent.files.durable import read_framed
from node_agent.shim import process
from node_agent.shim.shim import RECORDS, SPAWNED, START_BYTES, STEP_BYTES, exit_offset
from node_agent.shim.spool import (
    Ended,
    ExitRecord,
    Look,
    NotStarted,
    Running,
    Spawned,
    StepRecord,
    StepStart,
    Vanished,
)


def look(folder: Path) -> Look:
    """The state of a phase. OSError, SpoolError."""
    spawned = spawned_in(folder)
    if spawned is None:
        return NotStarted()
    ended = _exit_record(folder)
    if ended is not None:
        return ended
    if process.is_alive(spawned.boot, spawned.pid, spawned.start):
        step = _steps(folder)[1]
        return Running(step.name if step else None, step.pid if step else 0, spawned.pid)
    ended = _exit_record(folder)  # it may have ended between our two readings
    if ended is not None:
        return ended
    rebooted = spawned.boot != process.boot_id()
    reason = "the node was restarted" if rebooted else _watcher_gone(spawned.pid)
    return Vanished(reason, rebooted, _steps(folder)[0])


def _watcher_gone(pid: int) -> str:
    """In words for people: few know what a shim is."""
    return f"the process that watched over it there (shim, pid {pid}) was killed or has crashed"


def _exit_record(folder: Path) -> Ended | None:
    path = f"{folder}/{RECORDS}"
    data = read_framed(path, exit_offset(os.stat(path).st_size)) if os.path.exists(path) else None
    if data is None:
        return None
    record = ExitRecord.from_json(data)
    return Ended(record, record.boot != process.boot_id())


def spawned_in(folder: Path) -> Spawned | None:
    """The record of the shim that has claimed the folder. OSError, SpoolError."""
    data = read_part(folder / SPAWNED)
    return None if data is None else Spawned.from_json(data)


def _steps(folder: Path) -> tuple[tuple[StepRecord, ...], StepStart | None]:
    """(the steps that have ended, the one in progress)."""
    ended: list[StepRecord] = []
    path = f"{folder}/{RECORDS}"
    count = exit_offset(os.stat(path).st_size) // STEP_BYTES if os.path.exists(path) else 0
    while len(ended) < count:
        record = read_framed(path, len(ended) * STEP_BYTES + START_BYTES)
        if record is None:
            started = read_framed(path, len(ended) * STEP_BYTES)
            return tuple(ended), None if started is None else StepStart.from_json(started)
        ended.append(StepRecord.from_json(record))
    return tuple(ended), None


def read_part(path: str | Path, offset: int = 0, limit: int = 1 << 24) -> bytes | None:
    """Up to `limit` bytes from `offset`; None when the file is absent. Follows no link. OSError.

    A negative offset counts from the file's end.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return os.pread(fd, limit, offset if offset >= 0 else max(0, os.fstat(fd).st_size + offset))
    finally:
        os.close(fd)
