"""Lays a person's words where the agent's program looks for them; no link of the agent's is followed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def lay(home: Path, folder: str, name: str, data: bytes) -> None:
    """A file below the agent's home, for its owner. The same once more has no effect. OSError."""
    at = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = os.fstat(at).st_uid
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700, dir_fd=at)
            _give(folder, owner, at)
        below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        try:
            _write(name, data, owner, below)
        finally:
            os.close(below)
    finally:
        os.close(at)


def _write(name: str, data: bytes, owner: int, at: int) -> None:
    """Whole or not at all: whoever looks meanwhile sees nothing of it."""
    fresh = f".{name}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=at)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    _give(fresh, owner, at)
    os.rename(fresh, name, src_dir_fd=at, dst_dir_fd=at)


def _give(name: str, owner: int, at: int) -> None:
    if owner != os.geteuid():
        os.chown(name, owner, owner, dir_fd=at, follow_symlinks=False)
