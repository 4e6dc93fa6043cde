"""Saves a runtime's files in the run's home, restores them after set-up; lays what people say there."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from node_agent.shim.shim import PATIENCE
from node_agent.wire.identity import AttemptId, calls_in
from node_agent.wire.policy import ANSWERED, ASKED, MOST_FILE, CallAsked
from node_agent.workspace.errors import translated
from node_agent.workspace.folders import (
    AttemptFolders,
    WorkspaceFolders,
    erase,
    give,
    must_be_folder,
    write_below,
)

KEPT = "home.json"
"""Beside the home, where nothing of the attempt writes."""
LENT = "login.json"
"""Likewise: what is the agent's alone. No wall shows it."""
MOST_NAMES = 2_000
"""Names of the folder that are looked at: every program of the run may write there."""


def keep(places: AttemptFolders, files: Mapping[str, bytes], name: str = KEPT) -> None:
    """Idempotent."""
    encoded = {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}
    write_below(places.folder, name, json.dumps(encoded).encode("ascii"))


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
    for top in {Path(name).parts[0] for name in _stored(places, LENT)}:
        must_be_folder(places.home)
        erase(places.home / top)
    (places.folder / LENT).unlink(missing_ok=True)


def renew(places: AttemptFolders) -> None:
    """Everything below the topmost folder of each file goes: a setting beside it counts for the program, too.

    Links that were left are taken away, never followed. Nothing was kept by a node agent of before: then all
    stays as it is.
    """
    stored = {**_stored(places, KEPT), **_stored(places, LENT)}
    if not stored:
        return
    must_be_folder(places.home)
    owner = os.lstat(places.home).st_uid
    tops = {Path(name).parts[0] for name in stored}
    for top in tops:
        erase(places.home / top)
    for name, data in stored.items():
        write_below(places.home, name, base64.b64decode(data))
    for top in tops if owner != os.geteuid() else ():
        give(places.home / top, owner)
        os.chown(places.home / top, owner, owner, follow_symlinks=False)


def _stored(places: AttemptFolders, name: str) -> dict[str, str]:
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


class HomeCalls:
    """The CallsPort of a real node."""

    def __init__(self, root: Path) -> None:
        self._home = WorkspaceFolders(root)

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        """In no order. What cannot be read is no question."""
        try:
            at = os.open(self._folder(identity), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return ()
        try:
            with os.scandir(at) as entries:
                names = {entry.name for entry in islice(entries, MOST_NAMES)}
            stems = sorted(name.removesuffix(ASKED) for name in names if name.endswith(ASKED))
            read = (_read(at, stem) for stem in stems if f"{stem}{ANSWERED}" not in names)
            return tuple(one for one in read if one is not None)
        except OSError:
            return ()
        finally:
            os.close(at)

    @translated("answer to a call")
    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        """Seen whole or not at all."""
        home = self._home.places(identity).home
        lay(home, calls_in(str(identity)), f"{call}{ANSWERED}", data)

    def patience(self, phase: Path, waits: bool) -> None:
        """A file beside the phase's plan, out of the agent's reach."""
        with contextlib.suppress(OSError):
            if waits:
                (phase / PATIENCE).touch(mode=0o600)
            else:
                (phase / PATIENCE).unlink(missing_ok=True)

    def _folder(self, identity: AttemptId) -> Path:
        return self._home.places(identity).home / calls_in(str(identity))


def _read(at: int, stem: str) -> CallAsked | None:
    data = _bytes(at, f"{stem}{ASKED}")
    try:
        asked = CallAsked.model_validate_json(data)
    except ValidationError:
        return None
    return asked if asked.call == stem else None


def _bytes(at: int, name: str) -> bytes:
    """Of a regular file, without waiting for anybody; empty for anything else."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError:
        return b""
    try:
        return os.read(handle, MOST_FILE) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(handle)
