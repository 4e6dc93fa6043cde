"""Finds the attempts that a process of this machine belongs to, by itself or by its parents.

Three marks: the environment that every process of an attempt inherits, the shim at the top of its tree, and
the attempt's scope. A process can wipe the first of itself, and not that of those above it.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from node_agent.wire.identity import AttemptId

MARKER = b"PANCODE_ATTEMPT="
TRIES = 5
"""How often the walk up is tried, as a process on the way may end meanwhile."""
_SHIM = re.compile(r"/([^/]+)(?:/(?:set-up|gates))?/(?:records|shim\.log)$")
"""The file of standard error of a shim that was forked, and of one that was started cold."""
_SCOPE = re.compile(r"/pancode-f-[^:/]+:([^:/]+):[^/]*\.scope")


def start_of(pid: int) -> str:
    """When the process started, in kernel ticks: with the pid, unique to it. Empty when it has ended."""
    return _stat(pid)[1]


def attempts_of(pid: int, start: str) -> tuple[AttemptId, ...] | None:
    """The attempts around a process, the innermost first. None: that process is gone, so nobody can tell."""
    for _ in range(TRIES):
        if not start or start_of(pid) != start:
            return None
        found = _walk(pid)
        if found is not None:
            return tuple(attempt for attempt in map(_parsed, found) if attempt is not None)
    return None


def _walk(pid: int) -> list[str] | None:
    """The marks on the way up from the process; None: a process above it has just ended."""
    found, scopes = list[str](), _scopes(pid)
    while pid > 0:
        above, start = _stat(pid)
        if not start:
            return None
        found += _marks(pid)
        pid = above
    return found + scopes


def _marks(pid: int) -> list[str]:
    """The marks in a process's environment and standard error; another user's process shows none."""
    marks: list[str] = []
    with suppress(OSError):
        whole = _read(f"/proc/{pid}/environ")
        words = whole.split(b"\0") if MARKER in whole else ()
        marks += [word[len(MARKER) :].decode("utf-8", "replace") for word in words if word.startswith(MARKER)]
    with suppress(OSError):
        log = _SHIM.search(os.readlink(f"/proc/{pid}/fd/2"))
        marks += [log[1]] if log is not None else []
    return marks


def _scopes(pid: int) -> list[str]:
    with suppress(OSError):
        return _SCOPE.findall(os.fsdecode(_read(f"/proc/{pid}/cgroup")))
    return []


def _stat(pid: int) -> tuple[int, str]:
    """(the process above, start time); no start for one that is gone or only waits to be reaped."""
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return 0, ""
    return int(fields[1]), "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _read(path: str) -> bytes:
    """The whole file, by bare system calls, as each dispatch waits for it."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(handle, 65_536)]
        while parts[-1]:  # to the very end: a marker must not hide behind a long environment
            parts.append(os.read(handle, 65_536))
    finally:
        os.close(handle)
    return b"".join(parts)


def _parsed(text: str) -> AttemptId | None:
    try:
        return AttemptId.parse(text)
    except ValueError:
        return None
