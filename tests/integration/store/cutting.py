"""A wire between a ledger and its PostgreSQL that is cut at COMMIT: on its way there, or on its way back."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import Enum

COMMIT = b"COMMIT\x00"
"""The statement as it is sent, and the word of the server that it was done."""
HEADER = 5
"""Before that word: one byte and a length."""


class Cut(Enum):
    """Where the next COMMIT is lost."""

    NOWHERE = "nowhere"
    BEFORE = "the server never hears it"
    AFTER = "the server has done it, and its word for it is lost"


class Wire:
    """Listens at `port` and passes everything on to the server's socket; may be told to cut once."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.next = Cut.NOWHERE
        self.cuts = 0
        self._ending = False
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def _listen(self) -> None:
        with self._listener, suppress(OSError):
            while not self._ending:
                near, _ = self._listener.accept()
                if self._ending:
                    near.close()
                    return
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self._server)
                except OSError:  # the server is away
                    near.close()
                    far.close()
                    continue
                self._threads.append(threading.Thread(target=self._pass, args=(near, far)))
                self._threads[-1].start()

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._back, args=(far, near))
        back.start()
        with near, far, suppress(OSError):
            try:
                while (data := near.recv(1 << 16)) and not self._lost(data, Cut.BEFORE):
                    far.sendall(data)
            finally:
                far.shutdown(socket.SHUT_RDWR)
                back.join()

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(1 << 16):
                if self._lost(data, Cut.AFTER):
                    near.sendall(data[: data.index(COMMIT) - HEADER])
                    break
                near.sendall(data)
        with suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)

    def _lost(self, data: bytes, where: Cut) -> bool:
        """Whether this is to be the end of the connection."""
        if self.next is not where or COMMIT not in data:
            return False
        self.next = Cut.NOWHERE
        self.cuts += 1
        return True

    def close(self) -> None:
        self._ending = True
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            pass
        for thread in self._threads:
            thread.join(10)
