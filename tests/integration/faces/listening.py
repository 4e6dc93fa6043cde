"""A coordinator's socket with nothing of a coordinator behind it: each test says what becomes of who asks."""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from pathlib import Path

from pancode.interfaces.client.connection import SOCKET


class Listening(ABC):
    """Takes one after the other. `asked`: what was asked, as `_heard` notes it."""

    def __init__(self, home: Path) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home / SOCKET))
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @abstractmethod
    def _heard(self, peer: socket.socket, said: list[bytes]) -> None:
        """`said`: the words of a request's head. Whoever is not to be hung up on yet is kept open here."""

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._heard(peer, peer.recv(65536).split(b" "))

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
