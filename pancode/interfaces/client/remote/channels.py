"""The link to a coordinator on another machine, for both ends: a hello line, then frames of connections."""

from __future__ import annotations

import json
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from errno import EPIPE
from typing import Any

PROTOCOL = 1
MARK = b"pancode-api "
"""The text that begins a message; text before it, which a shell's startup files print, is skipped."""
MOST_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """The facts that the coordinator's machine reports about a login there."""

    version: str
    user: str
    environ: Mapping[str, str]
    folder: str | None
    """The caller's folder on the coordinator's machine, as an absolute path."""


def line_of(message: Mapping[str, Any]) -> bytes:
    return MARK + json.dumps(message).encode() + b"\n"


def read_line(line: bytes) -> dict[str, Any] | None:
    """Return the other end's message, even if text precedes it on the line; None for any other line."""
    _, mark, text = line.partition(MARK)
    if not mark:
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


PIECE = 64 * 1024
WINDOW = 8 * PIECE
"""How many bytes of one connection may be in transit, so that a slow reader delays only its own sender."""
_HEAD = struct.Struct(">BII")


class FrameKind(IntEnum):
    """The kind of a frame."""

    OPEN = 1
    OPENED = 2
    REFUSED = 3
    DATA = 4
    GRANT = 5
    """Permits this many more bytes of DATA."""
    END = 6


class TunnelChannels:
    """All channels of one link. `on_open` gets the frames that open one: kind, channel number, payload."""

    def __init__(self, source: int, sink: int, on_open: Callable[[FrameKind, int, bytes], None]) -> None:
        self._source, self._sink, self._on_open = source, sink, on_open
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._open: dict[int, TunnelChannel] = {}
        self._closed = False

    def run(self) -> None:
        """Process frames until the link ends or an invalid frame arrives; then end every channel."""
        with suppress(OSError, ValueError):
            while (head := self._read(_HEAD.size)) is not None:
                kind, number, length = _HEAD.unpack(head)
                if length > PIECE or (payload := self._read(length)) is None:
                    break
                self._take(FrameKind(kind), number, payload)
        with self._lock:
            left = list(self._open.values())
        for channel in left:
            channel.cut()

    def send(self, kind: FrameKind, number: int, payload: bytes = b"") -> None:
        """Send a frame. Raises OSError if the link has ended."""
        frame = memoryview(_HEAD.pack(kind, number, len(payload)) + payload)
        with self._writing:
            while frame:
                if self._closed:
                    raise BrokenPipeError(EPIPE, "the link was closed")
                frame = frame[os.write(self._sink, frame) :]

    def close(self, wait_s: float) -> bool:
        """Stop sending; return False if another thread still writes after this many seconds. Close the file
        only after True, because another file may get the same descriptor at once. Idempotent."""
        self._closed = True
        if not self._writing.acquire(timeout=wait_s):
            return False
        self._writing.release()
        return True

    def carry(self, number: int, connection: socket.socket, *, halves: bool = False) -> None:
        """Copy between the channel and the connection, both ways, until one of the two directions has ended.
        `halves`: until both have ended, because git finishes sending before it reads the rest."""
        channel = TunnelChannel(self, number, connection, halves)
        with self._lock:
            self._open[number] = channel
        channel.start()

    def forget(self, number: int) -> None:
        with self._lock:
            self._open.pop(number, None)

    def _take(self, kind: FrameKind, number: int, payload: bytes) -> None:
        if kind in (FrameKind.OPEN, FrameKind.OPENED, FrameKind.REFUSED):
            self._on_open(kind, number, payload)
            return
        with self._lock:
            channel = self._open.get(number)
        if channel is None:  # the channel has already ended at this end
            return
        if kind is FrameKind.GRANT:
            channel.grant(int.from_bytes(payload))
        else:
            channel.take(payload if kind is FrameKind.DATA else None)

    def _read(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            piece = os.read(self._source, count - len(parts))
            if not piece:
                return None
            parts += piece
        return bytes(parts)


class TunnelChannel:
    """One connection of a link, with a thread for each direction."""

    def __init__(
        self, link: TunnelChannels, number: int, connection: socket.socket, halves: bool = False
    ) -> None:
        self._link, self._number, self._connection, self._halves = link, number, connection, halves
        self._come: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._may = threading.Condition()
        self._credit, self._ended = WINDOW, False

    def start(self) -> None:
        name = f"channel-{self._number}"
        self._giving = threading.Thread(target=self._pump_data, name=name, daemon=True)
        self._giving.start()
        threading.Thread(target=self._fetch, name=name, daemon=True).start()

    def take(self, data: bytes | None) -> None:
        """Take received bytes; None means that no more will come."""
        self._come.put(data)

    def cut(self) -> None:
        """End the connection, because the link has ended."""
        self._halves = False
        self.take(None)
        with self._may:
            self._ended = True
            self._may.notify()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def grant(self, count: int) -> None:
        with self._may:
            self._credit += count
            self._may.notify()

    def _pump_data(self) -> None:
        with suppress(OSError):  # the local reader has closed, or the link has ended
            while (data := self._come.get()) is not None:
                self._connection.sendall(data)
                self._link.send(FrameKind.GRANT, self._number, len(data).to_bytes(4))
        with self._may:
            self._ended = not self._halves
            self._may.notify()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR if self._halves else socket.SHUT_RDWR)

    def _fetch(self) -> None:
        with suppress(OSError):
            while data := self._connection.recv(PIECE):
                with self._may:
                    while self._credit < len(data) and not self._ended:
                        self._may.wait()
                    self._credit -= len(data)
                if self._ended:
                    break
                self._link.send(FrameKind.DATA, self._number, data)
        with suppress(OSError):
            self._link.send(FrameKind.END, self._number)
        if self._halves:
            self._giving.join()  # the other end may still send
        self._link.forget(self._number)
        self.take(None)
        with suppress(OSError):
            self._connection.close()
