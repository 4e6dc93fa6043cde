"""Reads the repository's instructions for agents, its top AGENTS.md: a plain file, of bounded size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from node_agent.attempt.ports import Guide

NAME = "AGENTS.md"
MAX_BYTES = 32 << 10


def read_guide(tree: Path) -> Guide | None:
    """None when there is none. Follows no link and waits for no pipe."""
    path = tree / NAME
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return _unread()
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return _unread()
    with os.fdopen(handle, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) <= MAX_BYTES:
        return Guide(data.decode("utf-8", "replace"))
    finding = f"{NAME} is larger than {MAX_BYTES >> 10} KB: the agent was given its beginning"
    return Guide(data[:MAX_BYTES].decode("utf-8", "ignore"), (finding,))


def _unread() -> Guide:
    return Guide("", (f"{NAME} is not a plain file: it was not read",))
