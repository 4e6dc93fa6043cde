"""Holds one slot of an endpoint for the length of a test; all calls of this node share these slots."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from node_agent.files.durable import make_folder
from node_agent.gateway.slots import folder_of
from node_agent.passport.servers import ExamServer
from node_agent.wire.endpoint import ModelFact


class Turns:
    """`folder`: where the model gateways of runs lock theirs, a file for each slot."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def one(self, server: ExamServer, model: ModelFact) -> Iterator[bool]:
        """Take a slot for ourselves until the end, if one is free. A server that names no slots has one."""
        slots = server.fact.slots or model.slots or 0
        file = self._take(folder_of(self._folder, server.fact.name), slots) if slots else None
        try:
            yield file is not None or not slots
        finally:
            if file is not None:
                os.close(file)

    def _take(self, folder: Path, slots: int) -> int | None:
        make_folder(self._folder)
        make_folder(folder)
        for number in range(slots):
            file = os.open(folder / f"slot-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except BlockingIOError:
                os.close(file)
        return None
