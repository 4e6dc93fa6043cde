"""Ends what a real program has left running: whatever names the bench's folder, by its number."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.crowd import crowded

PATIENCE_S = 10.0


def end_all_in(folder: Path) -> None:
    """Nothing that names the folder runs when this returns; AssertionError with what does not end."""
    deadline = time.monotonic() + PATIENCE_S * crowded()
    while left := list(in_folder(folder)):
        assert time.monotonic() < deadline, f"left running in {folder}: {left}"
        for pid, _ in left:
            _kill(pid, folder)
        time.sleep(0.05)


def in_folder(folder: Path) -> Iterator[tuple[int, str]]:
    """(pid, command line) of each process that has the folder in its arguments, or is in it; not our own."""
    ours = set(_line_of(os.getpid()))
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) not in ours and (words := _names(int(entry), folder)):
            yield int(entry), words


def _kill(pid: int, folder: Path) -> None:
    """By a handle, asked once more: its number may be another's by now."""
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if _names(pid, folder):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def _names(pid: int, folder: Path) -> str:
    """Its command line; empty when it has nothing to do with the folder, or has ended."""
    base = Path(f"/proc/{pid}")
    with suppress(OSError):
        words = (base / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        here = os.readlink(base / "cwd")
        named = re.search(re.escape(str(folder)) + r"(?![\w.-])", words)
        if named or here == str(folder) or here.startswith(f"{folder}/"):
            return words or here
    return ""


def _line_of(pid: int) -> Iterator[int]:
    """The process and all above it."""
    while pid > 0:
        yield pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
