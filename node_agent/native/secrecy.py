"""Keeps a model's key inside this process, away from child processes and /proc. Standard library only:
drivers also load this module in the Python of a foreign environment."""

from __future__ import annotations

import contextlib
import ctypes
import os

PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Prevent other processes of this user, except root, from reading this process's memory and
    environment."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def wipe_variable(name: str) -> None:
    """Overwrite a variable in memory, because /proc shows a process's environment as it was at the start."""
    if name not in os.environ:
        return
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    at = libc.getenv(os.fsencode(name))
    if at:
        ctypes.memset(at, 0x2A, len(os.fsencode(os.environ[name])))
    del os.environ[name]
