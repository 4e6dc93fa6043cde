"""A manager's end of the notify socket: what a service tells it, in order."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crowd import crowded

PATIENCE_S = 60.0


class Hearing:
    """A real datagram socket at a path, as systemd makes one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def environ(self, patience_ms: int = 400) -> dict[str, str]:
        """What a service finds in its environment; it is to be heard of within this time."""
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(patience_ms * 1000)}

    def next(self, within_s: float = PATIENCE_S) -> str:
        """The next word; empty when none comes."""
        self._socket.settimeout(within_s * crowded())
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return ""

    def until(self, word: str) -> list[str]:
        """What came before it. It has to come."""
        before: list[str] = []
        while (heard := self.next()) != word:
            assert heard, f"never: {word}, after {before[-5:]}"
            before.append(heard)
        return before

    def drain(self) -> None:
        """Forget what was said so far."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(4096):
                continue
        except BlockingIOError:
            return

    def close(self) -> None:
        self._socket.close()


@contextmanager
def hearing() -> Iterator[Hearing]:
    """In a short folder, for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="pn-") as folder:
        ear = Hearing(Path(folder) / "notify")
        try:
            yield ear
        finally:
            ear.close()
