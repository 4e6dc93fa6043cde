"""Serves HTTP on one socket, in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

QUIET: dict[str, Any] = {
    "ws": "none",
    "loop": "asyncio",
    "lifespan": "off",
    "log_level": "warning",
    "access_log": False,
    "log_config": None,
    "server_header": False,
}
"""The settings of every server of ours."""
_STARTED_S = 30.0


class _Server(uvicorn.Server):
    """`beat` is called from the loop that answers, ten times a second while it gets on."""

    def __init__(self, config: uvicorn.Config, beat: Callable[[], None]) -> None:
        super().__init__(config)
        self._beat = beat

    async def on_tick(self, counter: int) -> bool:
        self._beat()
        return await super().on_tick(counter)


class Answering:
    """Started once, stopped once."""

    def __init__(self, config: uvicorn.Config, name: str, beat: Callable[[], None] = lambda: None) -> None:
        self._server = _Server(config, beat)
        self._name = name
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def start(self, listening: socket.socket) -> bool:
        """Returns when requests are answered; False when they are not. The socket is ours from now on."""
        self._socket = listening
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name=self._name, daemon=True
        )
        self._thread.start()
        waiting = threading.Event()
        for _ in range(int(_STARTED_S / 0.01)):
            if self._server.started or not self._thread.is_alive():
                break
            waiting.wait(0.01)
        return self._server.started

    def stop(self) -> None:
        """Nobody new; who is being answered gets a moment. Idempotent."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        if self._socket is not None:
            self._socket.close()
