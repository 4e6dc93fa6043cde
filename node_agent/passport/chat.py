"""Asks a model over HTTP and reads its stream; who stops reading hangs up, which frees the server's slot."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from node_agent.link.trusting import believing
from node_agent.passport.replies import Fold, Reply, refused
from node_agent.passport.servers import Server, Unreachable
from node_agent.wire.clock import Clock

CONNECT_S = 2.0
MOST_BYTES, MOST_ERROR = 8 << 20, 64 << 10
PATH = "/v1/chat/completions"
_PIECE = 1 << 16


class HttpChat:
    """A connection for each question."""

    def __init__(self, server: Server, clock: Clock) -> None:
        self._server, self._clock = server, clock

    def ask(self, body: Mapping[str, Any], ms: int) -> Reply:
        until, fold = self._clock.mono_ms() + ms, Fold()
        connection, sock = self._connected()
        try:
            return self._asked(connection, sock, body, (until, fold))
        except TimeoutError:
            return fold.reply(late=True)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            fold.error = fold.error or f"the connection broke: {str(exc) or type(exc).__name__}"
            return fold.reply()
        finally:
            connection.close()
            sock.close()

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        sock: socket.socket,
        body: Mapping[str, Any],
        so_far: tuple[int, Fold],
    ) -> Reply:
        until, fold = so_far
        began = self._clock.mono_ms()
        self._wait_until(sock, until)
        path = urlsplit(self._server.url).path.rstrip("/") + PATH
        connection.request("POST", path, json.dumps(body).encode(), self._headers())
        self._wait_until(sock, until)
        response = connection.getresponse()
        if response.status != 200:
            self._wait_until(sock, until)
            return refused(response.status, response.read(MOST_ERROR))
        rest = self._streamed(response, sock, (until, began), fold)
        if rest and fold.first_ms is None:  # it does not stream: one object
            fold.take(_object(rest), self._clock.mono_ms() - began)
        return fold.reply()

    def _streamed(
        self,
        response: http.client.HTTPResponse,
        sock: socket.socket,
        times: tuple[int, int],
        fold: Fold,
    ) -> bytes:
        """Line by line to the end; what came, if there was no stream in it. TimeoutError when it is late."""
        until, began = times
        line, read, plain = b"", 0, bytearray()
        while not fold.ended:
            self._wait_until(sock, until)
            piece = response.read1(_PIECE)
            read += len(piece)
            if not piece or read > MOST_BYTES:
                break
            *lines, line = (line + piece).split(b"\n")
            for one in lines:
                fold.feed(one, self._clock.mono_ms() - began)
                plain += one if not one.startswith((b"data:", b":")) else b""
        return bytes(plain) + line

    def _wait_until(self, sock: socket.socket, until: int) -> None:
        """Bounds the next read: comments that keep a stream alive must not keep us."""
        left = until - self._clock.mono_ms()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left / 1000)

    def _connected(self) -> tuple[http.client.HTTPConnection, socket.socket]:
        parts = urlsplit(self._server.url)
        host, tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        try:
            sock = socket.create_connection((host, port), CONNECT_S)
        except OSError as exc:
            raise Unreachable(f"{host}:{port} cannot be reached: {exc}") from exc
        if tls:
            try:
                sock = believing(self._server.ca).wrap_socket(sock, server_hostname=host)
            except OSError as exc:
                sock.close()
                raise Unreachable(f"{host}:{port} is not who it should be: {exc}") from exc
        connection = http.client.HTTPConnection(host, port)
        connection.sock = sock
        return connection, sock

    def _headers(self) -> dict[str, str]:
        own = {"Content-Type": "application/json", "Accept": "text/event-stream", "Connection": "close"}
        return {**own, "Authorization": f"Bearer {self._server.key}"} if self._server.key else own


def _object(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
