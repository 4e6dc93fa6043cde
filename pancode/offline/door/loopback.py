"""Opens the API on loopback for `pancode web`, where no setting has opened it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from pancode.access.codes import has_browsers
from pancode.access.door import DoorPlace
from pancode.api.context import ApiContext
from pancode.fleet.direct.listening import listening_at
from pancode.host.files import write_durable
from pancode.nodes.place import ListenAddress
from pancode.offline.answering import Answering

HOST, KEPT_PORT = "127.0.0.1", "web/port"
LOOK_TICKS = 600
"""The pause between two checks for browser sessions, in tenths of a second."""


class LoopbackDoor:
    """Open while a browser has a session: a tab that finds another program at our port sends it its token.

    For the same reason the port is kept, and a coordinator that starts opens it for the sessions of before.
    """

    def __init__(self, context: ApiContext, kept: Path, look_ticks: int = LOOK_TICKS) -> None:
        """`kept`: the file that has the port."""
        self._context, self._kept, self._look_ticks = context, kept, look_ticks
        self._lock = threading.Lock()
        self._answering: Answering | None = None
        self._ticks, self._url = 0, ""

    def start(self) -> None:
        """Open the door if older sessions go on; a setting of its own comes first."""
        if self._context.coordinator.door is None and self._kept.exists() and self._is_used():
            with suppress(OSError):
                self.url()

    def url(self) -> str:
        """The address; OSError when it cannot be opened."""
        with self._lock:
            if self._answering is None or not self._answering.is_open:
                self.stop()
                self._open()
            self._ticks = 0
            return self._url

    def stop(self) -> None:
        """Idempotent."""
        if self._answering is not None:
            self._answering.stop()

    def _open(self) -> None:
        from pancode.offline.door import BOUNDS, door_config  # most coordinators need none of it

        try:
            made = listening_at(ListenAddress(HOST, int(self._kept.read_text()), "pancode web"))
        except (OSError, ValueError):  # never opened before, or somebody else has the port now
            made = listening_at(ListenAddress(HOST, 0, "pancode web"))
        port = int(made.getsockname()[1])
        door = DoorPlace(ListenAddress(HOST, port, "pancode web"))
        try:
            write_durable(self._kept, str(port).encode())
        except OSError:
            made.close()
            raise
        self._answering = Answering(door_config(self._context, door), "web", self._beat, BOUNDS)
        self._answering.start(made)
        self._url = door.url(port)

    def _beat(self) -> None:
        self._ticks += 1
        if self._ticks >= self._look_ticks and self._answering is not None:
            self._ticks = 0
            if not self._is_used():
                self._answering.end()

    def _is_used(self) -> bool:
        return has_browsers(self._context.core)
