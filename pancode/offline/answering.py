"""Serves HTTP on one socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from pancode.essential import EssentialThread, watch
from pancode.host.open_files import is_spare, most
from pancode.offline.answering import HEAD_S, GuestProtocol
from pancode.offline.guest_places import GuestPlace, PlaceBounds, Places

log = logging.getLogger("pancode.api")

QUIET: dict[str, Any] = {
    "ws": "none",
    "loop": "asyncio",
    "lifespan": "off",
    "log_level": "error",  # its warnings are about requests: whoever sends many would fill the log
    "access_log": False,
    "log_config": None,
    "server_header": False,
}
"""The settings of every server of ours."""
_STARTED_S = 30.0
_AGAIN_S, _CROWDED_S, _TELL_S = 0.2, 0.002, 60.0
"""Between two tries, between two who come where others have to go, and between two lines of the log."""


class _Server(uvicorn.Server):
    """`beat` is called from the loop that answers, ten times a second while it gets on.

    It accepts by itself: asyncio takes whoever comes, gives a handshake a minute, and writes a megabyte into
    the log in each second in which no file is free. `bounds`: of a port that strangers reach; None: none.
    """

    def __init__(self, config: uvicorn.Config, beat: Callable[[], None], bounds: PlaceBounds | None) -> None:
        super().__init__(config)
        self._beat = beat
        self._places = None if bounds is None else Places(bounds)
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_at = -_TELL_S

    async def on_tick(self, counter: int) -> bool:
        self._beat()
        if self._accepting is not None and self._accepting.done():
            self._accepting.result()  # nobody is accepted any more: this thread dies of the same error
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        watch(asyncio.get_running_loop())
        await super().startup(sockets=[])
        for one in sockets or []:
            one.setblocking(False)
            self._accepting = self._keep(asyncio.get_running_loop().create_task(self._accept(one)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().shutdown(sockets)

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                made, peer = await asyncio.get_running_loop().sock_accept(listening)
            except OSError as exc:  # it left again, or we have no file free
                if exc.errno in (errno.EMFILE, errno.ENFILE):
                    self._tell(f"all of its {most()} files are open")
                await asyncio.sleep(_AGAIN_S)
                continue
            crowded = False
            if self._places is None:
                self._keep(asyncio.get_running_loop().create_task(self._connect(made, None)))
            else:
                crowded = not self._admit(made, str(peer[0]))
            # Accepting never waits while there is a queue: those accepted are to begin.
            await asyncio.sleep(_CROWDED_S if crowded else 0)

    def _admit(self, made: socket.socket, address: str) -> bool:
        """Whether there was room, so that nobody had to go."""
        assert self._places is not None
        if is_spare(made.fileno()):
            self._tell(f"of its {most()} files it keeps the last ones for its owner's commands")
            made.close()
            return False
        place, given = self._places.enter(address)
        if given is not None:
            given.close()
        if place is None:
            made.close()
        else:
            task = self._keep(asyncio.get_running_loop().create_task(self._connect(made, place)))
            place.close = task.cancel
        if place is None or given is not None:
            self._tell(f"strangers hold all their places, the last one from {address}")
            return False
        return True

    async def _connect(self, made: socket.socket, place: GuestPlace | None) -> None:
        arguments: dict[str, Any] = {
            "config": self.config,
            "server_state": self.server_state,
            "app_state": self.lifespan.state,
        }
        timeout = HEAD_S if self.config.ssl else None
        protocol: asyncio.Protocol
        if place is None:
            protocol = self.config.http_protocol_class(**arguments)
        else:
            protocol = GuestProtocol(place, lambda: self._left(place), **arguments)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, made, ssl=self.config.ssl, ssl_handshake_timeout=timeout
            )
        except (OSError, asyncio.CancelledError):
            with suppress(OSError):  # in a handshake the library may hold it open yet
                made.shutdown(socket.SHUT_RDWR)
            made.close()
            self._left(place)

    def _left(self, place: GuestPlace | None) -> None:
        if self._places is not None and place is not None:
            self._places.leave(place)

    def _tell(self, why: str) -> None:
        """Once a minute at most."""
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TELL_S:
            self._told_at = now
            log.warning("connections are closed at once: %s", why)


class Answering:
    """Started once, stopped once."""

    def __init__(
        self,
        config: uvicorn.Config,
        name: str,
        beat: Callable[[], None] = lambda: None,
        bounds: PlaceBounds | None = None,
    ) -> None:
        self._server = _Server(config, beat, bounds)
        self._name = name
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def start(self, listening: socket.socket) -> bool:
        """Returns when requests are answered; False when they are not. The socket is ours from now on."""
        self._socket = listening
        self._thread = EssentialThread(self._server.run, self._name, [listening])
        self._thread.start()
        waiting = threading.Event()
        for _ in range(int(_STARTED_S / 0.01)):
            if self._server.started or not self._thread.is_alive():
                break
            waiting.wait(0.01)
        return self._server.started

    @property
    def is_open(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._server.should_exit

    def end(self) -> None:
        """As `stop`, without waiting; any thread may call it."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Take no new connections, and give present ones a moment. Idempotent."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        if self._socket is not None:
            self._socket.close()
