"""Limits the calls of all runs on this node to the slots of each model server; further calls wait here,
because the queue inside such a server is unlimited and invisible. Standard library only."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

PATIENCE_S = 300.0
FIRST_PAUSE_S, PAUSE_S = 0.02, 0.25


def folder_of(parent: Path, name: str) -> Path:
    """Return the folder of the locks with which calls to one endpoint share its slots."""
    return parent / re.sub(r"[^A-Za-z0-9._-]", "_", name)


def is_taken(folder: Path) -> bool:
    """Whether a call occupies one of the slots now."""
    return any(_is_locked(file) for file in sorted(folder.glob("slot-*")))


def _is_locked(file: Path) -> bool:
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Full(Exception):
    """No slot became free in time; the message is for the agent."""


class SlotLocks:
    """One file per slot, locked while a call occupies the slot; the kernel unlocks it when a process ends."""

    def __init__(self, folder: str, number: int, patience_s: float = PATIENCE_S) -> None:
        self._files = [os.path.join(folder, f"slot-{i}") for i in range(number)]
        self._patience_s = patience_s

    @contextlib.asynccontextmanager
    async def one(self, waited: Callable[[float], None]) -> AsyncIterator[None]:
        """Occupy a slot. `waited` gets 0 when a wait begins, and the seconds waited at its end. Full."""
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), FIRST_PAUSE_S
        while (file := self._take()) is None:
            if loop.time() - began >= self._patience_s:
                waited(loop.time() - began)
                many = f"all {len(self._files)} slots" if len(self._files) > 1 else "the only slot"
                raise Full(
                    f"{many} of the model server: still in use after {self._patience_s:.0f} s of waiting"
                )
            if pause == FIRST_PAUSE_S:
                waited(0.0)
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_S)
        try:
            if pause > FIRST_PAUSE_S:
                waited(loop.time() - began)
            yield
        finally:
            os.close(file)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[bool]:
        """Occupy a slot that is free now, until the end of the block; yield False if none is free."""
        file = self._take()
        try:
            yield file is not None
        finally:
            if file is not None:
                os.close(file)

    def _take(self) -> int | None:
        for path in self._files:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except BlockingIOError:
                os.close(file)
            except BaseException:
                os.close(file)
                raise
        return None
