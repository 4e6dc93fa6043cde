"""A SOCKS 5 proxy on loopback, which connects as asked and counts."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread


class SocksProxy(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.asked: list[tuple[str, int]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Relay(BaseRequestHandler):
    def handle(self) -> None:
        near: socket.socket = self.request
        near.recv(2 + 255)  # the greeting
        near.sendall(b"\x05\x00")
        _, _, _, kind = near.recv(4)
        size = 4 if kind == 1 else near.recv(1)[0]
        name = near.recv(size)
        host = socket.inet_ntoa(name) if kind == 1 else name.decode()
        port = int.from_bytes(near.recv(2), "big")
        assert isinstance(self.server, SocksProxy)
        self.server.asked.append((host, port))
        with socket.create_connection((host, port)) as far, selectors.DefaultSelector() as waits:
            near.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            waits.register(near, selectors.EVENT_READ, far)
            waits.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in waits.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)


@contextmanager
def socks_proxy() -> Iterator[SocksProxy]:
    with SocksProxy() as made:
        Thread(target=made.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            made.shutdown()
