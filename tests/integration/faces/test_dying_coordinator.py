"""A coordinator dies while it is asked: a question is asked once more, a change is never sent twice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.interfaces.client.client import Client, StreamCutError
from tests.integration.faces.listening import Listening

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1, 2, 3]"


class Dying(Listening):
    """Hangs up on the first who asks, and answers who asks again."""

    def _heard(self, peer: socket.socket, said: list[bytes]) -> None:
        with peer:
            self.asked.append(said[0])
            if len(self.asked) > 1:
                peer.sendall(ANSWER)


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
    assert dying.asked == [b"POST"] and "pancode runs" in told.value.fix
