"""Takes a variable out of this process: out of what its children get, and out of what /proc shows of it."""

from __future__ import annotations

import ctypes
import os


def wipe(name: str) -> None:
    """What the kernel shows of a process is the memory of its start, so that is written over."""
    if name not in os.environ:
        return
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    at = libc.getenv(os.fsencode(name))
    if at:
        ctypes.memset(at, 0x2A, len(os.fsencode(os.environ[name])))
    del os.environ[name]
