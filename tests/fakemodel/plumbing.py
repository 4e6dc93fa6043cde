"""HTTP plumbing: bodies in, JSON and event streams out, ways to break a connection."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import time
import zlib
from http.server import BaseHTTPRequestHandler
from typing import Any

from .state import State

VERSION = "1.0"


class Closed(Exception):
    """The client went away, or a fault closed the connection."""


class Wire(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fakemodel/" + VERSION
    sys_version = ""
    state: State  # set on the subclass made per server
    entry: dict[str, Any]  # what the log will say of this request
    route: str
    query: dict[str, str]
    raw: bytes
    t0: float
    logged: bool
    telling: bool = False  # it is being answered, and is not in the log yet

    # -- plumbing ---------------------------------------------------------
    def log_message(self, fmt: str, *args: Any) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while True:
                size = int(self.rfile.readline().split(b";")[0].strip() or b"0", 16)
                if size == 0:
                    while self.rfile.readline().strip():
                        pass
                    break
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            raw = b"".join(parts)
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        enc = self.headers.get("Content-Encoding", "").lower()
        if enc == "gzip":
            raw = gzip.decompress(raw)
        elif enc == "deflate":
            raw = zlib.decompress(raw)
        return raw

    def tells(self, now: bool = True) -> None:
        """From the first word of an answer on, who has read it may ask what was asked: it is noted first."""
        if now is not self.telling:
            self.telling = now
            self.state.tell(1 if now else -1)

    def send_json(self, obj: Any, status: int = 200, headers: dict | None = None) -> None:
        self.send_bytes(json.dumps(obj).encode(), status, "application/json", headers)

    def send_bytes(
        self,
        data: bytes,
        status: int = 200,
        ctype: str = "text/plain; charset=utf-8",
        headers: dict | None = None,
    ) -> None:
        self.entry["status"] = status
        self.tells()
        self.send_response(status)
        self.send_header("Content-Type", ctype)
        self.send_header("Content-Length", str(len(data)))
        for k, v in (headers or {}).items():
            self.send_header(k, str(v))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def start_stream(self, ctype: str = "text/event-stream") -> None:
        self.entry["status"] = 200
        self.tells()
        self.send_response(200)
        self.send_header("Content-Type", ctype)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("request-id", "req_fake")
        self.end_headers()

    def chunk(self, data: str) -> None:
        raw = data.encode()
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
            self.wfile.flush()
        except OSError as e:
            raise Closed("client closed") from e

    def end_stream(self) -> None:
        try:
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except OSError as e:
            raise Closed("client closed") from e

    def sse(self, obj: Any, event: str | None = None) -> None:
        head = f"event: {event}\n" if event else ""
        self.chunk(head + "data: " + (obj if isinstance(obj, str) else json.dumps(obj)) + "\n\n")

    def kill(self, why: str) -> None:
        """Drop the connection with a reset."""
        self.entry["fault"] = why
        self.tells()
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.flush()
        except OSError:
            pass
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        raise Closed(why)

    def client_gone(self) -> bool:
        try:
            self.connection.setblocking(False)
            try:
                return self.connection.recv(1, socket.MSG_PEEK) == b""
            finally:
                self.connection.setblocking(True)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def pause(self, seconds: float) -> None:
        telling, end = self.telling, time.time() + seconds
        self.tells(False)
        while (left := end - time.time()) > 0:
            if self.client_gone():
                self.entry["client_closed_after"] = round(time.time() - self.t0, 3)
                raise Closed("client closed while waiting")
            time.sleep(min(0.05, left))
        self.tells(telling)
