"""A coordinator dies while it is asked: a question is asked once more, a change is never sent twice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.client import Client, StreamCutError
from pancode.connection import SOCKET

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1, 2, 3]"


class Dying:
    """Hangs up on the first who asks, and answers who asks again."""

    def __init__(self, home: Path) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home / SOCKET))
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                self.asked.append(peer.recv(65536).split(b" ")[0])
                if len(self.asked) > 1:
                    peer.sendall(ANSWER)

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[Dying]:
    dying = Dying(tmp_path)
    yield dying
    dying.end()


def test_a_question_is_asked_once_more(dying: Dying, tmp_path: Path) -> None:
    assert Client(tmp_path, starts=False).get("/v1/runs") == [1, 2, 3]
    assert dying.asked == [b"GET", b"GET"]


def test_a_change_is_sent_once(dying: Dying, tmp_path: Path) -> None:
    with pytest.raises(StreamCutError) as told:
        Client(tmp_path, starts=False).post("/v1/runs", {})
    assert dying.asked == [b"POST"] and "look before you repeat" in told.value.fix
