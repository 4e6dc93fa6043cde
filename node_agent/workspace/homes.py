"""Saves a runtime's files in the run's home, restores them after set-up; lays a person's words there."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from node_agent.workspace.folders import AttemptFolders, erase, give, must_be_folder, write_below

KEPT = "home.json"
"""Beside the home, where nothing of the attempt writes."""
LENT = "login.json"
"""Likewise: what is the agent's alone. No wall shows it."""


def keep(places: AttemptFolders, files: Mapping[str, bytes], name: str = KEPT) -> None:
    """Idempotent."""
    held = {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}
    write_below(places.folder, name, json.dumps(held).encode("ascii"))


def lend(places: AttemptFolders, files: Mapping[str, bytes], later: bool) -> None:
    """Nothing of the attempt has run. What an earlier try wrote too soon is taken away. Idempotent."""
    if not files:
        return
    keep(places, files, LENT)
    for name, data in files.items():
        if later:
            (places.home / name).unlink(missing_ok=True)
        else:
            write_below(places.home, name, data)


def take_back(places: AttemptFolders) -> None:
    """With the folders around it, where its program may have put more of it. Idempotent."""
    for top in {Path(name).parts[0] for name in _held(places, LENT)}:
        must_be_folder(places.home)
        erase(places.home / top)
    (places.folder / LENT).unlink(missing_ok=True)


def renew(places: AttemptFolders) -> None:
    """Everything below the topmost folder of each file goes: a setting beside it counts for the program, too.

    Links that were left are taken away, never followed. Nothing was kept by a node agent of before: then all
    stays as it is.
    """
    held = {**_held(places, KEPT), **_held(places, LENT)}
    if not held:
        return
    must_be_folder(places.home)
    owner = os.lstat(places.home).st_uid
    tops = {Path(name).parts[0] for name in held}
    for top in tops:
        erase(places.home / top)
    for name, data in held.items():
        write_below(places.home, name, base64.b64decode(data))
    for top in tops if owner != os.geteuid() else ():
        give(places.home / top, owner)
        os.chown(places.home / top, owner, owner, follow_symlinks=False)


def _held(places: AttemptFolders, name: str) -> dict[str, str]:
    try:
        return dict(json.loads((places.folder / name).read_bytes()))
    except FileNotFoundError:
        return {}


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
