"""HTTP of strangers: each head and body has an end, in bytes and in time; two Host headers are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pancode.api.context import LET_IN
from pancode.offline.guest_places import GuestPlace

HEAD, NAMES, BODY = 64 * 1024, 16 * 1024, 16 * 2**20
"""Bytes: of a head, of all names in it, of a body. A route refuses a smaller body in its own words."""
HEAD_S, BODY_S, TAKEN_S = 10.0, 60.0, 60.0
"""The time for a head, for a body, and for a stranger to take the answer."""
_PIECE = 16 * 1024
_PIPELINED = 16


class GuestProtocol(HttpToolsProtocol):
    """One connection over TCP. `left` is called once it is gone."""

    def __init__(self, place: GuestPlace, left: Callable[[], None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._place, self._left = place, left
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._refused = True, 0
        """Between two messages counts as in a head. The status of what is not taken."""
        self._since, self._names, self._head, self._sent = 0, 0, 0, 0
        """Bytes since the parser told us of something, of the names of headers, of the head, of the body."""

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
        """Piece by piece: the parser joins what has no end yet, in a time that grows with its square."""
        self._unset_keepalive_if_required()
        if self._in_head and self._timer is None:
            self._limit(HEAD_S)
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._since += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade:  # we speak nothing else; it is answered as any request
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
        if not self._in_head:  # after a body: nothing of ours reads one
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
        self._limit(TAKEN_S)  # closing waits until the other side has taken its answer

    def _let_in(self) -> None:
        self._place.known = True
        if self._in_head:
            self._limit(None)

    def _limit(self, seconds: float | None) -> None:
        """Set the new time limit, which replaces the one before it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

    def _refuse(self, status: int) -> None:
        """Refuse the connection, in words if no answer is under way, and end it."""
        if self.transport.is_closing():
            return
        under_way: Any = self.cycle  # None before the first request
        if under_way is None or under_way.response_complete:
            head = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head)
        self.transport.close()
        self._limit(HEAD_S)
