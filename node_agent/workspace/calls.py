"""Reads the questions that lie in a run's home, whatever the agent has put there, and lays the answers."""

from __future__ import annotations

import contextlib
import os
import stat
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from node_agent.shim.shim import PATIENCE
from node_agent.wire.calls import ANSWERED, ASKED, MOST_FILE, CallAsked, calls_in
from node_agent.wire.identity import AttemptId
from node_agent.workspace import homes
from node_agent.workspace.errors import translated
from node_agent.workspace.folders import WorkspaceFolders

MOST_NAMES = 2_000
"""Names of the folder that are looked at: every program of the run may write there."""


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
        homes.lay(home, calls_in(str(identity)), f"{call}{ANSWERED}", data)

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
