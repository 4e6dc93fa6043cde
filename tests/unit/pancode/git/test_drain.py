"""A push that was refused in the middle is read to its end, or the node never learns why."""

from __future__ import annotations

import socket
from typing import cast

from pancode.git.depot_server import _drain


class Sender:
    """A socket whose other end still sends, a byte at a time."""

    def __init__(self, left: int) -> None:
        self.left = left

    def shutdown(self, how: int) -> None:
        """The reason has gone out."""

    def settimeout(self, seconds: float) -> None:
        """How long a silence lasts."""

    def recv(self, most: int) -> bytes:
        self.left -= 1
        return b"" if self.left < 0 else b"x"


def test_to_its_end_or_to_a_bound() -> None:
    patient, endless = Sender(5_000), Sender(100_000)
    _drain(cast(socket.socket, patient), 10_000)
    _drain(cast(socket.socket, endless), 10_000)
    assert (patient.left, endless.left) == (-1, 90_000)
