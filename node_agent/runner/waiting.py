"""Waits for the first report of a shim, and for the end of a process; takes no CPU."""

from __future__ import annotations

import os
import select
import time

POLL_MS = 50


def heard(pipe: int, ms: int) -> str:
    """`spawned`, or what the shim could not do, or nothing when it died or took too long."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return os.read(pipe, 1024).decode("utf-8", "replace") if poll.poll(ms) else ""


def await_end(pid: int, ms: int) -> None:
    """Of a process, or until the time is over."""
    try:
        fd = os.pidfd_open(pid)
    except (OSError, AttributeError) as exc:
        if not isinstance(exc, ProcessLookupError):  # a kernel or an interpreter without pidfd
            time.sleep(min(ms, POLL_MS) / 1000)
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(ms)
    finally:
        os.close(fd)
