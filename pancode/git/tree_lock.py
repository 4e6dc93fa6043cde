"""Lets one process at a time write into a user's tree."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK_S = 0.1


class CalledOffError(Exception):
    """The error that a landing was called off before its first write."""


@contextmanager
def lock_tree(top: Path, called_off: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Lock the tree's folder itself: no file remains, and all coordinators on this computer respect it."""
    handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            unless_called_off(called_off)
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(handle)


def unless_called_off(called_off: Callable[[], bool]) -> None:
    """Raise CalledOffError if the landing is called off."""
    if called_off():
        raise CalledOffError
