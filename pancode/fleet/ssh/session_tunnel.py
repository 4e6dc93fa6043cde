"""Carries a node's connections to Redis and the depot in one SSH session, if its server forbids forwarding.

The other end, `node_agent/link/session_tunnel.py`, listens on the node and opens a channel per connection.
"""

from __future__ import annotations

import asyncio
import itertools
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncssh

from node_agent.wire.frames import HEAD, MOST_LINE, PIECE, PROTOCOL, WINDOW, FrameKind, frame_of, read_line
from pancode.fleet.ssh.connection_limit import LimitedForward, Passing
from pancode.fleet.ssh.errors import ConnectError, LinkFault

START_S = 30.0
MOST_UNREAD = 1 << 20
_KEPT_WORDS = 2000


class SessionTunnel(asyncssh.SSHClientSession[bytes]):
    """The coordinator's end. Begin it with `open`; all methods belong to the event loop's thread."""

    def __init__(self, forwards: Mapping[str, LimitedForward], lost: Callable[[str], None]) -> None:
        """`lost`: called with the reason if the tunnel ends before `close`."""
        self._forwards, self._lost = forwards, lost
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[tuple[FrameKind, bytes]]] = {}
        self._numbers = itertools.count(1)
        self._channels: dict[int, _Channel] = {}
        self._come, self._words = bytearray(), b""
        self.full = False
        """Whether the SSH session takes no more data now."""

    @classmethod
    async def open(
        cls,
        conn: asyncssh.SSHClientConnection,
        program: Sequence[str],
        forwards: Mapping[str, LimitedForward],
        lost: Callable[[str], None],
    ) -> SessionTunnel:
        """Start the program on the node. Raises ConnectError, or asyncssh's errors."""
        made = cls(forwards, lost)
        await conn.create_session(lambda: made, shlex.join(program), encoding=None)
        try:
            async with asyncio.timeout(START_S):
                await made._begun
        except BaseException:
            made.close()
            raise
        return made

    async def listen(self, folder: str) -> None:
        """Listen in this folder of the node, and no longer in the one before. Raises ConnectError."""
        if self._has_ended():
            raise self._make_error("")
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self.send(FrameKind.OPEN, number, folder.encode())
        try:
            async with asyncio.timeout(START_S):
                kind, words = await answer
        finally:
            del self._answers[number]
        if kind is not FrameKind.OPENED:
            raise self._make_error(words.decode("utf-8", "replace"))

    def close(self) -> None:
        """End the tunnel and its connections. Idempotent."""
        self._lost = lambda _: None
        if self._channel is not None:
            self._channel.close()

    # -- what the SSH session reports

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:  # the error output of the program and of the login shell
            self._words = (self._words + data)[-_KEPT_WORDS:]
            return
        if self._has_ended():
            return
        self._come += data
        try:
            if not self._begun.done():
                self._read_hello()
            while self._begun.done() and len(self._come) >= HEAD.size:
                kind, number, length = HEAD.unpack_from(self._come)
                if length > PIECE:
                    raise ValueError(f"a frame of {length} bytes")
                if len(self._come) < HEAD.size + length:
                    break
                payload = bytes(self._come[HEAD.size : HEAD.size + length])
                del self._come[: HEAD.size + length]
                self._take(FrameKind(kind), number, payload)
        except ValueError as error:
            self._fail(f"the node sent an invalid frame: {error}")

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        for channel in tuple(self._channels.values()):
            channel.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:  # the whole connection was lost, which its own `lost` reports
            self._lost = lambda _: None
        self._fail(" ".join(self._words.decode("utf-8", "replace").split())[-400:])

    # -- frames

    def send(self, kind: FrameKind, number: int, payload: bytes = b"") -> None:
        if self._channel is None or self._channel.is_closing():
            return
        self._channel.write(frame_of(kind, number, payload))
        # Data waits while the session is full, so only answers to a node that reads nothing become so many.
        if self._channel.get_write_buffer_size() > MOST_UNREAD:
            self._fail("the node does not read")

    def _has_ended(self) -> bool:
        return self._channel is None or self._channel.is_closing()

    def forget(self, number: int) -> None:
        self._channels.pop(number, None)

    def _read_hello(self) -> None:
        """Skip what the login shell prints before the program's line."""
        while not self._begun.done() and b"\n" in self._come:
            line, _, rest = bytes(self._come).partition(b"\n")
            self._come[:] = rest
            message = read_line(line)
            if message is not None:
                if message.get("protocol") != PROTOCOL:
                    raise ValueError("the node agent has another version")
                self._begun.set_result(None)
        if not self._begun.done() and len(self._come) > MOST_LINE:
            raise ValueError("the program's first line is missing")

    def _take(self, kind: FrameKind, number: int, payload: bytes) -> None:
        if kind in (FrameKind.OPENED, FrameKind.REFUSED):
            answer = self._answers.get(number)
            if answer is not None and not answer.done():
                answer.set_result((kind, payload))
        elif kind is FrameKind.OPEN:
            forward = self._forwards.get(payload.decode("ascii", "replace"))
            if forward is None or number in self._channels:
                raise ValueError(f"channel {number} cannot be opened")
            self._channels[number] = _Channel(self, number, forward)
        elif (channel := self._channels.get(number)) is not None:  # else it has ended at this end
            channel.take(kind, payload)

    def _fail(self, why: str) -> None:
        """End every connection, and report why, once."""
        lost, self._lost = self._lost, lambda _: None
        error = self._make_error(why)
        waiting: list[asyncio.Future[Any]] = [self._begun, *self._answers.values()]
        for one in waiting:
            if not one.done():
                one.set_exception(error)
                one.exception()  # nobody may be waiting for it any more
        self.close()
        self._come.clear()
        for channel in tuple(self._channels.values()):
            channel.cut()
        lost(f"the tunnel in the SSH session has ended: {error.why}")

    def _make_error(self, why: str) -> ConnectError:
        return ConnectError(
            LinkFault.FORWARDING_REFUSED,
            "the node's SSH server forbids forwarding, and the tunnel in an SSH session cannot be used",
            why=why or "its program has ended",
            fix="pancode fleet up NODE, which installs this version's node agent; or allow forwarding in the "
            "node's sshd_config (AllowTcpForwarding remote, no DisableForwarding)",
        )


class _Channel:
    """One connection of the node: the transport of the session that `LimitedForward` makes."""

    def __init__(self, tunnel: SessionTunnel, number: int, forward: LimitedForward) -> None:
        self._tunnel, self._number = tunnel, number
        self._passing: Passing | None = None
        self._early = list[tuple[FrameKind, bytes]]()
        """What came before the service was connected."""
        self._out = bytearray()
        self._credit, self._window, self._owed = WINDOW, WINDOW, 0
        """Bytes that may be sent, that may still come, and that were taken without being granted again."""
        self._paused = self._stalled = self._ended = self._closing = False
        self._last: FrameKind | None = None
        """The frame to send after all data."""
        self._opening = asyncio.get_running_loop().create_task(self._connect(forward))

    async def _connect(self, forward: LimitedForward) -> None:
        try:
            passing = await forward.enter()
        except Exception:  # whatever the reason: the connection at the node must not wait for ever
            self.close()
            return
        if self._closing:  # `forward` closes a session that nobody takes
            return
        self._passing = passing
        passing.connection_made(self)
        early, self._early = self._early, []
        for kind, payload in early:
            if not self._closing:
                self._pass_on(kind, payload)

    def take(self, kind: FrameKind, payload: bytes) -> None:
        """Take a frame. Raises ValueError for more data than was granted, or after the end."""
        if kind is FrameKind.GRANT:
            self._credit = min(WINDOW, self._credit + int.from_bytes(payload[:4]))
            self.flush()
        elif kind is FrameKind.CUT:
            self.cut()
        elif not self._closing:
            self._window -= len(payload)
            if self._ended or self._window < 0 or (kind is FrameKind.DATA and not payload):
                raise ValueError("more data than was granted, none, or data after the end")
            self._ended = kind is FrameKind.END
            if self._passing is None:
                self._early.append((kind, payload))
            else:
                self._pass_on(kind, payload)

    def _pass_on(self, kind: FrameKind, payload: bytes) -> None:
        assert self._passing is not None
        if kind is FrameKind.DATA:
            self._passing.data_received(payload)
            self._owed += len(payload)
            self._grant()
        elif not self._passing.eof_received():
            self.cut()

    def _grant(self) -> None:
        if self._owed and not self._paused:
            self._tunnel.send(FrameKind.GRANT, self._number, self._owed.to_bytes(4))
            self._window += self._owed
            self._owed = 0

    def cut(self) -> None:
        """End the connection; what the service still sends goes nowhere."""
        self._out.clear()
        self.close()
        if self._passing is not None:
            self._passing.connection_lost(None)

    def flush(self) -> None:
        """Send as much as the node and the SSH session take now."""
        while self._out and self._credit and not self._tunnel.full:
            size = min(len(self._out), PIECE, self._credit)
            self._tunnel.send(FrameKind.DATA, self._number, bytes(self._out[:size]))
            del self._out[:size]
            self._credit -= size
        if self._passing is not None and not self._closing and self._stalled != bool(self._out):
            self._stalled = bool(self._out)
            self._passing.pause_writing() if self._stalled else self._passing.resume_writing()
        if self._last is not None and not self._out:
            last, self._last = self._last, None
            self._tunnel.send(last, self._number)
            if self._closing:
                self._tunnel.forget(self._number)

    # -- the transport

    def get_extra_info(self, name: str) -> None:
        """Return nothing: no socket belongs to the connection here."""

    def write(self, data: bytes) -> None:
        if not self._closing:
            self._out += data
            self.flush()

    def write_eof(self) -> None:
        if not self._closing:
            self._last = FrameKind.END
            self.flush()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._grant()

    def close(self) -> None:
        """End the connection at the node, after what is still to be sent. Idempotent."""
        if not self._closing:
            self._closing, self._last = True, FrameKind.CUT
        self.flush()
