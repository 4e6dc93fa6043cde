"""Serves an app on a real socket in this process, and keeps what was asked of it."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """`value`: JSON, or text as it is."""

    status: int
    value: Any
    headers: dict[str, str] = field(default_factory=dict)


class App(Protocol):
    """A server's behaviour. `harm`: what was asked of it that changes what it holds, which no look may do."""

    harm: list[str]

    def answer(self, asked: Asked) -> Reply:
        """To one request."""


@dataclass
class Serving:
    """One that answers. `asked`: every request so far."""

    port: int
    app: Any
    asked: list[Asked] = field(default_factory=list)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [one.path for one in self.asked]


@contextlib.contextmanager
def serving(
    app: App, harmless: bool = True, tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[Serving]:
    """While it answers, over TLS with such a context; at any free port, or this one.

    In the end nothing may have been done to it, unless that is what a test is about.
    """
    told = Serving(0, app, scheme="https" if tls else "http")
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(told))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not harmless or not app.harm, f"a look changed what the server holds: {app.harm}"


def _handler(told: Serving) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _go(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with contextlib.suppress(ValueError):
                raw = json.loads(raw)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, raw)
            told.asked.append(asked)
            self._say(told.app.answer(asked))

        do_GET = do_POST = do_DELETE = _go

        def _say(self, reply: Reply) -> None:
            data = reply.value.encode() if isinstance(reply.value, str) else json.dumps(reply.value).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return None

        def version_string(self) -> str:
            return str(getattr(told.app, "server", "fake"))

    return Handler
