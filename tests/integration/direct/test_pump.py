"""A side that hung up while the other takes nothing: the node waits, and does not turn in place."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from typing import Any, cast

from node_agent.link.direct import _Pump
from tests.integration.git.depot_world import until


class Slow(socket.socket):
    """Speaks as the TLS library does where nobody takes what is said; counts how often it is tried."""

    tries = 0

    def pending(self) -> int:
        return 0

    def send(self, data: Any, flags: int = 0) -> int:
        self.tries += 1
        try:
            return super().send(data, flags)
        except BlockingIOError as exc:
            raise ssl.SSLWantWriteError from exc

    def recv(self, size: int, flags: int = 0) -> bytes:
        try:
            return super().recv(size, flags)
        except BlockingIOError as exc:
            raise ssl.SSLWantReadError from exc


def test_a_program_that_left_costs_no_processor_while_the_network_stands_still() -> None:
    program, near = socket.socketpair()
    ours, peer = socket.socketpair()
    tls = Slow(fileno=ours.detach())
    thread = threading.Thread(target=_Pump(near, cast(ssl.SSLSocket, tls)).run, daemon=True)
    thread.start()
    program.setblocking(False)
    said = 0
    while select.select([], [program], [], 1)[1]:  # until nobody takes anything any more
        said += program.send(bytes(10_000))
    program.close()
    before = tls.tries
    threading.Event().wait(0.5)
    assert tls.tries - before < 100, "else it turned thousands of times"
    heard = 0
    while piece := peer.recv(1 << 16):
        heard += len(piece)
    assert heard == said, "nothing is lost by it"
    until(lambda: not thread.is_alive(), timeout_s=20)
    peer.close()
