"""Carries many connections over one pair of pipes, as frames, with a thread for each direction of each."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from errno import EPIPE

from node_agent.wire.frames import HEAD, PIECE, WINDOW, FrameKind, frame_of


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
            while (head := self._read(HEAD.size)) is not None:
                kind, number, length = HEAD.unpack(head)
                if length > PIECE or (payload := self._read(length)) is None:
                    break
                self._take(FrameKind(kind), number, payload)
        with self._lock:
            left = list(self._open.values())
        for channel in left:
            channel.cut()

    def send(self, kind: FrameKind, number: int, payload: bytes = b"") -> None:
        """Send a frame. Raises OSError if the link has ended."""
        frame = memoryview(frame_of(kind, number, payload))
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

    def carry(
        self, number: int, connection: socket.socket, *, halves: bool = False, opening: bytes | None = None
    ) -> None:
        """Copy between the channel and the connection, both ways, until one of the two directions has ended.
        `halves`: until both have ended, because git finishes sending before it reads the rest. `opening`: the
        payload of the frame that opens the channel at the other end, sent first; may then raise OSError."""
        channel = TunnelChannel(self, number, connection, halves)
        with self._lock:
            self._open[number] = channel
        try:
            if opening is not None:
                self.send(FrameKind.OPEN, number, opening)
            channel.start()
        except BaseException:
            self.forget(number)
            channel.end()
            with suppress(OSError):
                self.send(FrameKind.CUT, number)
            raise

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
        match kind:
            case FrameKind.GRANT:
                channel.grant(int.from_bytes(payload))
            case FrameKind.CUT:
                channel.end()
            case _:
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

    def end(self) -> None:
        """End both directions once the connection has got the bytes that have come."""
        with self._may:
            self._ended = True
            self._may.notify()
        self.take(None)

    def cut(self) -> None:
        """End the connection, because the link has ended."""
        self.end()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def grant(self, count: int) -> None:
        with self._may:
            self._credit += count
            self._may.notify()

    def _pump_data(self) -> None:
        try:
            while (data := self._come.get()) is not None:
                self._connection.sendall(data)
                self._link.send(FrameKind.GRANT, self._number, len(data).to_bytes(4))
        except OSError:  # the local reader has closed, or the link has ended
            if self._halves and not self._ended:
                self._ended = True
                with suppress(OSError):
                    self._link.send(FrameKind.CUT, self._number)
        with self._may:
            self._ended = self._ended or not self._halves
            self._may.notify()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR if self._ended else socket.SHUT_WR)

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
            self._giving.join()  # the other end may still send, or the connection still take what has come
        self._link.forget(self._number)
        self.take(None)
        with suppress(OSError):
            self._connection.close()
