"""Asks one server over HTTP, with a short patience: the effect behind `answers.Ask`."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping

from node_agent.endpoints.answers import Answer, Silent
from node_agent.endpoints.places import Place
from node_agent.endpoints.trust import context_of, unbelieved
from node_agent.wire.clock import Clock

HERE_S, NEAR_S, READ_S = 0.5, 1.0, 2.0
MOST_BYTES = 4 << 20
_PIECE = 1 << 16


class Http:
    """A connection for each question: a server that is restarted is never asked over an old one."""

    def __init__(self, place: Place, key: str, clock: Clock) -> None:
        self._place, self._key, self._clock = place, key, clock

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, object]) -> Answer:
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        until = self._clock.mono_ms() + int(READ_S * 1000)
        try:
            connection = self._connected()
        except (OSError, ValueError) as exc:
            raise Silent(f"cannot be reached: {exc}", isinstance(exc, ConnectionRefusedError)) from exc
        try:
            connection.request(method, self._place.base + path, body, self._headers(body))
            answer = connection.getresponse()
            return Answer(answer.status, self._read(answer, until), answer.getheader("Server", ""))
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise Silent(f"does not answer {path}: {str(exc) or type(exc).__name__}") from exc
        finally:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        place = self._place
        tls = context_of(place) if place.tls else None
        sock = socket.create_connection((place.host, place.port), HERE_S if place.is_here else NEAR_S)
        try:
            sock.settimeout(READ_S)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname=place.host)
        except ssl.SSLError as exc:
            sock.close()
            raise unbelieved(place, exc) from exc
        except BaseException:
            sock.close()
            raise
        connection = http.client.HTTPConnection(place.host, place.port)
        connection.sock = sock
        return connection

    def _headers(self, body: bytes | None) -> dict[str, str]:
        own = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            own["Content-Type"] = "application/json"
        return {**own, "Authorization": f"Bearer {self._key}"} if self._key else own

    def _read(self, answer: http.client.HTTPResponse, until: int) -> bytes:
        """All of it, in time: a server that drips must not keep a thread."""
        data = bytearray()
        while piece := answer.read1(_PIECE):
            data += piece
            if len(data) > MOST_BYTES or self._clock.mono_ms() > until:
                raise ValueError("the answer is too long, or takes too long")
        return bytes(data)
