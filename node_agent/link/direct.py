"""Connects to the coordinator by TLS, without a tunnel."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from node_agent.files.durable import write_atomic
from node_agent.wire.clock import SystemClock
from node_agent.wire.keys import OTHER_SERVER, PROTOCOL, WATCHED
from node_agent.wire.signing import SigningKey

if TYPE_CHECKING:  # imported late: saves 2 MB of memory on a node behind a tunnel
    import ssl

_PIECE = 1 << 16
_LINE_MAX = 4096


class NotLetInError(OSError):
    """The coordinator refuses this node; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Secure:
    """A TLS address of the coordinator, the trusted authority, our certificate (PEM) and our keys' folder."""

    host: str
    port: int
    end: str
    ca: str
    cert: str
    keys: Path


def dial(place: Secure, patience_s: float) -> socket.socket:
    """Return an accepted connection. OSError: its text distinguishes certificate and network problems."""
    tls = _let_in(place, patience_s)
    opened: list[socket.socket] = [tls]
    try:
        near, far = socket.socketpair()
        opened += (near, far)
        threading.Thread(target=_Pump(far, tls).run, name=f"direct {place.end}", daemon=True).start()
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    near.settimeout(patience_s)
    return near


def _let_in(place: Secure, patience_s: float) -> ssl.SSLSocket:
    sock = socket.create_connection((place.host, place.port), patience_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in WATCHED:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock = tls = _make_context(place).wrap_socket(sock, server_hostname=place.host)
        _check_let_in(tls)
    except OSError as exc:
        sock.close()
        out = _out_of_date(place)
        if out:
            raise ConnectionError(f"{exc}: {out}") from exc
        raise
    except BaseException:
        sock.close()
        raise
    return tls


def _out_of_date(place: Secure) -> str:
    """Return the problem if our certificate is not valid now, as the server would just close; else empty."""
    from cryptography.x509 import load_pem_x509_certificate

    try:
        cert = load_pem_x509_certificate(place.cert.encode())
    except ValueError as exc:
        return f"our certificate cannot be read: {exc}"
    begins, ends = cert.not_valid_before_utc, cert.not_valid_after_utc
    if begins.timestamp() <= SystemClock().wall_ms() / 1000 <= ends.timestamp():
        return ""
    return f"our certificate has expired or is not valid yet: {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"


@lru_cache(maxsize=4)
def _make_context(place: Secure) -> ssl.SSLContext:
    """Return a context that trusts only the fleet's authority and presents the node's own certificate."""
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # this also checks the name and the chain
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_verify_locations(cadata=place.ca)
    made.load_cert_chain(_find_certificate(place))
    made.set_alpn_protocols([PROTOCOL + place.end])
    return made


def _find_certificate(place: Secure) -> Path:
    """Return the file that the library requires, with our certificate and its key."""
    path = place.keys / "direct.pem"
    try:
        key = SigningKey.parse((place.keys / "node.key").read_text())
    except ValueError as exc:
        raise OSError(f"{place.keys / 'node.key'} is not a valid node key: {exc}") from exc
    text = (key.pem() + place.cert).encode()
    if not path.exists() or path.read_bytes() != text:
        write_atomic(path, text)
        os.chmod(path, 0o600)
    return path


def _check_let_in(tls: ssl.SSLSocket) -> None:
    """Read the line after the handshake that reports whether our certificate was accepted; raise if not."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LINE_MAX:
        byte = tls.recv(1)
        if not byte:
            raise ConnectionError("the coordinator closed the connection")
        line += byte
    try:
        answer = json.loads(line)
        refused = "" if answer["ok"] is True else str(answer["why"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ConnectionError(f"{OTHER_SERVER} coordinator") from exc
    if refused:
        raise NotLetInError(refused)


class _Pump:
    """Copies bytes in both directions until either side has closed. For the one thread that runs it.

    A half-close of the near end is not forwarded, because TLS here cannot close one direction alone: git
    half-closes after sending a pack, and then waits for the answer.
    """

    def __init__(self, near: socket.socket, tls: ssl.SSLSocket) -> None:
        self._near, self._tls = near, tls
        self._out = self._in = b""
        self._near_ended = self._tls_ended = self._left = False

    def run(self) -> None:
        try:
            self._near.setblocking(False)
            self._tls.setblocking(False)
            while not self._is_over():
                self._wait()
                self._take_near()
                import ssl

                if self._out:
                    with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                        self._out = self._out[self._tls.send(self._out) :]
                self._take_tls()
                if self._in:
                    with contextlib.suppress(BlockingIOError):
                        self._in = self._in[self._near.send(self._in) :]
        except OSError:  # one side broke, and the other side sees the close
            pass
        finally:
            with contextlib.suppress(OSError):
                self._near.shutdown(socket.SHUT_RDWR)
            self._near.close()
            self._tls.close()

    def _is_over(self) -> bool:
        if self._tls_ended and not self._in:
            return True
        return self._left and self._near_ended and not self._out

    def _wait(self) -> None:
        """Wait until a side is ready. A closed side always is, so poll it only for its open direction."""
        poll = select.poll()
        near = (0 if self._out or self._near_ended else select.POLLIN) | (select.POLLOUT if self._in else 0)
        tls = (0 if self._in else select.POLLIN) | (select.POLLOUT if self._out else 0)
        if near or not self._left:
            poll.register(self._near, near)
        if tls:
            poll.register(self._tls, tls)
        ready = dict(poll.poll(0 if self._tls.pending() and not self._in else None))
        self._left = self._left or bool(ready.get(self._near.fileno(), 0) & select.POLLHUP)

    def _take_near(self) -> None:
        if self._out or self._near_ended:
            return
        with contextlib.suppress(BlockingIOError):
            self._out = self._near.recv(_PIECE)
            self._near_ended = not self._out

    def _take_tls(self) -> None:
        import ssl

        if self._in or self._tls_ended:
            return
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._in = self._tls.recv(_PIECE)
            self._tls_ended = not self._in
