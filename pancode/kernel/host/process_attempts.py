"""Finds the attempts to which a process of this machine belongs, directly or through its parents.

There are three marks: the environment that every process of an attempt inherits, the shim at the top of its
process tree, and the attempt's systemd scope. A process can erase its own environment, but not its parents'.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from node_agent.wire.identity import AttemptId

MARKER = b"PANCODE_ATTEMPT="
TRIES = 5
"""How often to retry the walk to the parents, because one of them may end meanwhile."""
_SHIM = re.compile(r"/([^/]+)(?:/(?:set-up|gates))?/(?:records|shim\.log)$")
"""The standard error files of a forked shim, and of a newly started one."""
_SCOPE = re.compile(r"/pancode-f-[^:/]+:([^:/]+):[^/]*\.scope")


def start_of(pid: int) -> str:
    """Return the process's start time in kernel ticks; with the pid it is a unique id. Empty if it ended."""
    return _read_stat(pid)[1]


def attempts_of(pid: int, start: str) -> tuple[AttemptId, ...] | None:
    """Return the attempts around a process, innermost first. None: the process has ended."""
    for _ in range(TRIES):
        if not start or start_of(pid) != start:
            return None
        found = _walk(pid)
        if found is not None:
            return tuple(attempt for attempt in map(_parse_mark, found) if attempt is not None)
    return None


def _walk(pid: int) -> list[str] | None:
    """Return the attempt marks from the process up to the root; None if one of its parents has just ended."""
    found, scopes = list[str](), _read_scopes(pid)
    while pid > 0:
        above, start = _read_stat(pid)
        if not start:
            return None
        found += _read_marks(pid)
        pid = above
    return found + scopes


def _read_marks(pid: int) -> list[str]:
    """Return the attempt marks in a process's environment and stderr; empty for another user's process."""
    marks: list[str] = []
    with suppress(OSError):
        whole = _read(f"/proc/{pid}/environ")
        words = whole.split(b"\0") if MARKER in whole else ()
        marks += [word[len(MARKER) :].decode("utf-8", "replace") for word in words if word.startswith(MARKER)]
    with suppress(OSError):
        log = _SHIM.search(os.readlink(f"/proc/{pid}/fd/2"))
        marks += [log[1]] if log is not None else []
    return marks


def _read_scopes(pid: int) -> list[str]:
    with suppress(OSError):
        return _SCOPE.findall(os.fsdecode(_read(f"/proc/{pid}/cgroup")))
    return []


def _read_stat(pid: int) -> tuple[int, str]:
    """Return the parent's pid and the start time; the start time is empty if the process has ended."""
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return 0, ""
    return int(fields[1]), "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _read(path: str) -> bytes:
    """Read the whole file with plain system calls, which are fast: every dispatch waits for this."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(handle, 65_536)]
        while parts[-1]:  # read to the end: a long environment must not hide a marker
            parts.append(os.read(handle, 65_536))
    finally:
        os.close(handle)
    return b"".join(parts)


def _parse_mark(text: str) -> AttemptId | None:
    try:
        return AttemptId.parse(text)
    except ValueError:
        return None
