"""Serves HTTP on one socket in its own thread; a port that strangers can reach has limits."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pancode.app.listening import next_of
from pancode.app.server.connection_places import ConnectionPlace, PlaceBounds, Places
from pancode.interfaces.http.context import LET_IN
from pancode.kernel.host.open_files import is_spare, read_limit
from pancode.kernel.threads import EssentialThread, end_process_on_memory_error

HEAD, NAMES, BODY = 64 * 1024, 16 * 1024, 16 * 2**20
"""Most bytes of a head, of all header names in it, of a body. Routes with lower limits refuse themselves."""
HEAD_S, BODY_S, TAKEN_S = 10.0, 60.0, 60.0
"""Seconds for a request's head, for its body, and for an unauthenticated client to read the answer."""
_PIECE = 16 * 1024
_PIPELINED = 16


class LimitedProtocol(HttpToolsProtocol):
    """One connection over TCP. `left`: called when the connection ends."""

    def __init__(self, place: ConnectionPlace, left: Callable[[], None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._place, self._left = place, left
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._refused = True, 0
        """Whether a head is being read, or awaited between requests; the status of a refusal, 0 for none."""
        self._since, self._names, self._head, self._sent = 0, 0, 0, 0
        """Bytes: since the parser's last callback, of the header names, of the headers, of the body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._place.close = transport.abort
        self._limit(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit(None)
        self._unset_keepalive_if_required()
        self._left()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass the parser small pieces: for incomplete data, its parsing time grows quadratically."""
        self._unset_keepalive_if_required()
        if self._in_head and self._timer is None:
            self._limit(HEAD_S)
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._since += len(piece)
            try:
                self.parser.feed_data(piece)
            # no upgrade is supported; it is answered like any other request
            except httptools.HttpParserUpgrade:
                return
            except httptools.HttpParserError:
                self._refused = self._refused or 400
            if self._since > HEAD:
                self._refused = self._refused or (431 if self._in_head else 400)
            if self._refused:
                return self._refuse(self._refused)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[LET_IN] = self._let_in  # type: ignore[literal-required]
        self._names, self._head, self._sent = 0, 0, 0
        self._limit(HEAD_S)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:  # a trailer after the body, which PanCode does not use
            return
        self._names += len(name)
        self._head += len(name) + len(value)
        if self._names > NAMES or self._head + len(self.url) > HEAD:
            self._refused = 431
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._since, self._in_head = 0, False
        if sum(name == b"host" for name, _ in self.headers) > 1:  # RFC 9112, 3.2
            self._refused = 400
        if len(self.pipeline) >= _PIPELINED:
            self._refused = 429
        if not self._refused:
            self._limit(BODY_S)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._since = 0
        self._sent += len(body)
        if self._sent > BODY:
            self._refused = 413
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._since, self._in_head = 0, True
        if self._refused:
            return
        self._place.answered = not self.cycle.response_complete
        self._limit(None if self._place.known and self._place.answered else TAKEN_S)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._place.answered = False
        if self._in_head:
            self._limit(TAKEN_S if self.transport.is_closing() else None)
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._limit(TAKEN_S)  # the connection closes only after the client has read its answer

    def _let_in(self) -> None:
        self._place.known = True
        if self._in_head:
            self._limit(None)

    def _limit(self, seconds: float | None) -> None:
        """Set a new time limit for the connection, which replaces the previous one; None: no limit."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

    def _refuse(self, status: int) -> None:
        """Refuse and close the connection, with a status line unless an answer is in progress."""
        if self.transport.is_closing():
            return
        under_way: Any = self.cycle  # None before the first request
        if under_way is None or under_way.response_complete:
            head = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head)
        self.transport.close()
        self._limit(HEAD_S)


log = logging.getLogger("pancode.api")

QUIET: dict[str, Any] = {
    "ws": "none",
    "loop": "asyncio",
    "lifespan": "off",
    "log_level": "error",  # the server's warnings are about requests: many requests would fill the log
    "access_log": False,
    "log_config": None,
    "server_header": False,
}
"""The settings of all of PanCode's servers."""
_STARTED_S = 30.0
_AGAIN_S, _CROWDED_S, _TELL_S = 0.2, 0.002, 60.0
"""Seconds between two attempts to accept, between displacements by new clients, and between two log lines."""


class _Server(uvicorn.Server):
    """An HTTP server. `heartbeat` is called by its event loop ten times a second.

    The server accepts connections itself: asyncio limits nothing, allows a minute for a handshake, and logs a
    megabyte per second when no file descriptor is free. `bounds`: for a port open to strangers.
    """

    def __init__(
        self, config: uvicorn.Config, heartbeat: Callable[[], None], bounds: PlaceBounds | None
    ) -> None:
        super().__init__(config)
        self._heartbeat = heartbeat
        self._places = None if bounds is None else Places(bounds)
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_at = -_TELL_S

    async def on_tick(self, counter: int) -> bool:
        self._heartbeat()
        if self._accepting is not None and self._accepting.done():
            self._accepting.result()  # accepting has failed: raise the same error in this thread
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        end_process_on_memory_error(asyncio.get_running_loop())
        await super().startup(sockets=[])
        for one in sockets or []:
            one.setblocking(False)
            self._accepting = self._keep(asyncio.get_running_loop().create_task(self._accept_peers(one)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().shutdown(sockets)

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept_peers(self, listening: socket.socket) -> None:
        while True:
            try:
                made, peer = await next_of(listening)
            except OSError as exc:  # the client left, or no file descriptor is free
                if exc.errno in (errno.EMFILE, errno.ENFILE):
                    self._tell(f"all of its {read_limit()} file descriptors are in use")
                await asyncio.sleep(_AGAIN_S)
                continue
            crowded = False
            if self._places is None:
                self._begin(made, None)
            else:
                crowded = not self._admit(made, str(peer[0]))
            # Always yield, even with a queue, so that accepted connections can start.
            await asyncio.sleep(_CROWDED_S if crowded else 0)

    def _admit(self, made: socket.socket, address: str) -> bool:
        """Admit a new connection; return whether there was room without displacing another."""
        assert self._places is not None
        if is_spare(made.fileno()):
            self._tell(
                f"the last of its {read_limit()} file descriptors are reserved for its owner's commands"
            )
            made.close()
            return False
        place, given = self._places.enter(address)
        if given is not None:
            given.close()
        if place is None:
            made.close()
        else:
            place.close = self._begin(made, place).cancel
        if place is None or given is not None:
            self._tell(f"unauthenticated clients use all their slots, the latest from {address}")
            return False
        return True

    def _begin(self, made: socket.socket, place: ConnectionPlace | None) -> asyncio.Task[None]:
        """Start the connection's task; a task cancelled before its first step still closes the socket."""
        task = self._keep(asyncio.get_running_loop().create_task(self._connect(made, place)))
        task.add_done_callback(lambda ended: made.close() if ended.cancelled() else None)
        return task

    async def _connect(self, made: socket.socket, place: ConnectionPlace | None) -> None:
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
            protocol = LimitedProtocol(place, lambda: self._release_place(place), **arguments)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, made, ssl=self.config.ssl, ssl_handshake_timeout=timeout
            )
        except (OSError, asyncio.CancelledError):
            with suppress(OSError):  # during a handshake the library may still have the socket open
                made.shutdown(socket.SHUT_RDWR)
            made.close()
            self._release_place(place)

    def _release_place(self, place: ConnectionPlace | None) -> None:
        if self._places is not None and place is not None:
            self._places.leave(place)

    def _tell(self, why: str) -> None:
        """Log why connections are closed, at most once a minute."""
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TELL_S:
            self._told_at = now
            log.warning("connections are closed immediately: %s", why)


class Answering:
    """An HTTP server in a thread, started and stopped once."""

    def __init__(
        self,
        config: uvicorn.Config,
        name: str,
        heartbeat: Callable[[], None] = lambda: None,
        bounds: PlaceBounds | None = None,
    ) -> None:
        self._server = _Server(config, heartbeat, bounds)
        self._name = name
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def start(self, listening: socket.socket) -> bool:
        """Start serving; return whether requests are answered now. The server takes over the socket."""
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
        """Stop as `stop` does, but without waiting; may be called from any thread."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Accept no new connections, and let current ones finish briefly. Idempotent."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        if self._socket is not None:
            self._socket.close()
