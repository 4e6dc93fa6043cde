"""The single port where nodes connect by TLS: decides which node reaches which service, and for how long."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.keys import PROTOCOL, WATCHED
from node_agent.wire.signing import PublicKey
from pancode.fleet.direct.authority import Authority, key_of
from pancode.fleet.direct.listener import close_writer, connect_stream, copy_stream, run_both
from pancode.fleet.direct.port import AGAIN_S, Port
from pancode.fleet.place import NodeListener
from pancode.fleet.ssh.connection_limit import MOST
from pancode.fleet.ssh.forward_targets import End
from pancode.kernel.errors import PancodeError

_HEAD = re.compile(rb"([*$])([0-9]{1,10})\r\n")
_LINE_MAX = 14
_END = len(b"\r\n")
LEAVING = frozenset({b"AUTH", b"HELLO", b"RESET"})
"""Commands that change the user of a connection. Redis cannot forbid what is allowed before a login."""
_NAME_MAX = max(map(len, LEAVING))


class LoginError(ConnectionError):
    """The input contains a command that is not allowed, or is not a valid command."""


class OneLogin:
    """Checks everything that a node sends after its user name, in pieces of any size, without storing it. A
    forbidden command is never passed on completely, so Redis does not execute it."""

    def __init__(self) -> None:
        self._words = 1
        """How many words of the command are still expected; initially the password."""
        self._body = 0
        """How many bytes of the argument are still expected, including its line end."""
        self._line = b""
        self._naming = False
        self._name = b""

    def look(self, piece: bytes) -> None:
        """Check a piece. LoginError for a login, a protocol change, or input unknown from Redis clients."""
        at = 0
        while at < len(piece):
            at = self._take_body(piece, at) if self._body else self._take_head(piece, at)

    def _take_body(self, piece: bytes, at: int) -> int:
        step = min(self._body, len(piece) - at)
        if self._naming:
            self._name += piece[at : at + step]
        self._body -= step
        if not self._body and self._naming:
            self._naming = False
            if self._name[:-_END].upper() in LEAVING:
                raise LoginError(f"{self._name[:-_END].decode()} is not allowed after the login")
        return at + step

    def _take_head(self, piece: bytes, at: int) -> int:
        end = piece.find(b"\n", at) + 1
        self._line += piece[at : end or at + _LINE_MAX]
        if end:
            self._begin(_HEAD.fullmatch(self._line))
            self._line = b""
        elif len(self._line) >= _LINE_MAX:
            self._begin(None)
        return end or len(piece)

    def _begin(self, head: re.Match[bytes] | None) -> None:
        """Begin the next argument or command; strictly, since Redis might parse unusual input differently."""
        if head is None or (head[1] == b"$") != bool(self._words):
            raise LoginError("not a command in the format that Redis clients use")
        if head[1] == b"*":
            self._words, self._naming, self._name = int(head[2]), True, b""
            return
        self._words -= 1
        self._body = int(head[2]) + _END
        self._naming = self._naming and self._body <= _NAME_MAX + _END


HELLO_S = 10.0
"""Seconds that the entrance has for its check, and a node for its first message."""
LOOK_S = 3.0
"""Seconds between checks that connected nodes are still allowed."""
RENEW_S = 3600.0
log = logging.getLogger("pancode.direct")


@dataclass(frozen=True, slots=True)
class DirectNode:
    """A node that may connect, and its user in Redis."""

    name: str
    user: str


Judge = Callable[[PublicKey], DirectNode | str]
"""Returns the node with this key, or the reason why it may not connect. Called in a thread, and repeated for
open connections."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The services behind the entrance: Redis, which may be on another host, and the depot's socket."""

    redis: End
    depot: Path


class _RefusedError(Exception):
    """The node may not connect; the text is sent to it."""


class Entrance:
    """The TLS port for nodes; `keep` opens it, and closes it when cancelled. Used by one event loop."""

    def __init__(self, listener: NodeListener, authority: Authority, rooms: Rooms, judge: Judge) -> None:
        self.place, self._host = listener.place, listener.shown.host
        self.trouble = "the port has not been opened yet"
        """The reason why the port is not open; empty while it is open."""
        self.fix = ""
        """What a user can do about `trouble`; empty if unknown."""
        self.short = ""
        """The reason why some connections are refused although the port is open."""
        self.tried = asyncio.Event()
        """Set as soon as it is known whether the port could be opened."""
        self._authority, self._rooms, self._judge = authority, rooms, judge
        self._inside: dict[asyncio.Task[None], PublicKey] = {}
        self._count: Counter[str] = Counter()
        self._logged: dict[str, str] = {}
        self._blind = ""
        """The error of the last check of the connected nodes, if it failed."""

    async def keep(self) -> None:
        """Listen; if that is not possible (e.g. the network is not up yet), set `trouble` and try again."""
        try:
            while True:
                try:
                    ca = self._authority.ca
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.minimum_version = ssl.TLSVersion.TLSv1_3
                    context.verify_mode = ssl.CERT_REQUIRED
                    context.load_verify_locations(cadata=ca)
                    context.load_cert_chain(self._authority.server(self._host))
                    # without session tickets: each connection must prove that its certificate is valid now
                    context.num_tickets = 0
                    context.set_alpn_protocols([PROTOCOL + "redis", PROTOCOL + "depot"])
                    async with Port(self.place, context, self._serve_peer, self._note_refusals):
                        self._note("")
                        await self._look_after(context, ca)
                # any error is caught: otherwise nothing would report that the listener is closed
                except Exception as exc:
                    self._note(
                        _format_error(exc) or repr(exc), exc.fix if isinstance(exc, PancodeError) else ""
                    )
                    await asyncio.sleep(AGAIN_S)
        finally:
            self._note("it was closed")
            for task in tuple(self._inside):
                task.cancel()
            await asyncio.gather(*self._inside, return_exceptions=True)

    async def _look_after(self, context: ssl.SSLContext, ca: str) -> None:
        """Renew the certificate; disconnect nodes that are no longer allowed. Return when the authority
        changes."""
        loop = asyncio.get_running_loop()
        due = loop.time() + RENEW_S
        while self._authority.ca == ca:
            await asyncio.sleep(LOOK_S)
            try:
                if loop.time() > due:
                    context.load_cert_chain(self._authority.server(self._host))
                    due = loop.time() + RENEW_S
                for key in set(self._inside.values()):
                    if isinstance(await asyncio.to_thread(self._judge, key), str):
                        for task in [task for task, whose in self._inside.items() if whose == key]:
                            task.cancel()
                self._note_trouble("")
            except (
                OSError,
                PancodeError,
            ) as exc:  # for example if the ledger is unavailable: the port remains open
                self._note_trouble(_format_error(exc))

    def _note_trouble(self, trouble: str) -> None:
        if trouble and trouble != self._blind:
            log.warning("direct links: the ledger cannot be read: %s", trouble)
        self._blind = trouble

    def _note_refusals(self, why: str) -> None:
        if why and not self.short:
            log.warning("direct links: nodes are refused: %s", why)
        self.short = why

    def _note(self, trouble: str, fix: str = "") -> None:
        self.tried.set()
        self.fix = fix
        if trouble != self.trouble:
            self.trouble = trouble
            words = f"not open at {self.place}: {trouble}" if trouble else f"open at {self.place}"
            log.info("direct links: %s", words)

    # -- one connection

    async def _serve_peer(
        self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter, let_in: Callable[[], None]
    ) -> None:
        task = asyncio.current_task()
        try:
            key = key_of(to_near.get_extra_info("ssl_object").getpeercert(True))
            if key is None or task is None:
                return
            # A node that was switched off sends nothing: without keepalive its connections would stay and be
            # counted.
            sock = to_near.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in WATCHED:
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            self._inside[task] = key
            await self._serve(key, near, to_near, let_in)
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError) as exc:
            log.debug("direct links: ended: %s", exc)  # the node reports the error on its side
        finally:
            try:
                await close_writer(to_near)
            finally:  # closing the entrance waits for all open connections
                if task is not None:
                    self._inside.pop(task, None)

    async def _serve(
        self,
        key: PublicKey,
        near: asyncio.StreamReader,
        to_near: asyncio.StreamWriter,
        let_in: Callable[[], None],
    ) -> None:
        try:
            async with asyncio.timeout(HELLO_S):
                guest = await asyncio.to_thread(self._judge, key)
                if isinstance(guest, str):
                    raise _RefusedError(guest)
                if self._count[guest.name] >= MOST:
                    raise _RefusedError(f"{guest.name} already has the maximum of {MOST} connections")
        except (_RefusedError, PancodeError, TimeoutError) as exc:
            await self._refuse(key, exc, to_near)
            return
        let_in()
        self._count[guest.name] += 1  # no await between check and use, since many nodes may connect at once
        try:
            await self._connect_service(guest, key, near, to_near)
        finally:
            self._count[guest.name] -= 1

    async def _connect_service(
        self, guest: DirectNode, key: PublicKey, near: asyncio.StreamReader, to_near: asyncio.StreamWriter
    ) -> None:
        """Connect the node to the service that it requests, and copy both ways until one side ends."""
        try:
            async with asyncio.timeout(HELLO_S):
                protocol = to_near.get_extra_info("ssl_object").selected_alpn_protocol()
                ends: dict[str, End] = {"redis": self._rooms.redis, "depot": self._rooms.depot}
                end = ends.get((protocol or "").removeprefix(PROTOCOL))
                if end is None:
                    raise _RefusedError("the connection does not name Redis or the depot as its destination")
                far, to_far = await connect_stream(end)
        except (_RefusedError, OSError, TimeoutError) as exc:
            await self._refuse(key, exc, to_near)
            return
        self._logged.pop(key.tag, None)
        try:
            await _say(to_near, {"ok": True})
            seen = None
            if end is self._rooms.redis:
                # A node's first command to Redis is its login; a login as another node is refused.
                begins = f"*3\r\n$4\r\nAUTH\r\n${len(guest.user)}\r\n{guest.user}\r\n".encode()
                async with asyncio.timeout(HELLO_S):
                    login = await near.readexactly(len(begins))
                if login != begins:
                    to_near.write(f"-WRONGPASS this certificate is that of {guest.user}\r\n".encode())
                    await to_near.drain()
                    raise ConnectionError("it tried to log in as another node")
                to_far.write(login)
                seen = OneLogin().look
            await run_both(copy_stream(near, to_far, seen), copy_stream(far, to_near))
        except LoginError as exc:
            self._tell_once(f"{guest.name} in Redis", str(exc))
            to_near.write(f"-NOPERM {exc}\r\n".encode())
        finally:
            await close_writer(to_far)

    async def _refuse(self, key: PublicKey, exc: Exception, to_near: asyncio.StreamWriter) -> None:
        why = _format_error(exc) or "the service did not respond in time"
        self._tell_once(key.tag, why)
        await _say(to_near, {"ok": False, "why": why})

    def _tell_once(self, who: str, why: str) -> None:
        """Log a refusal only if it is new for this client, since a node tries again every few seconds."""
        if self._logged.get(who) != why:
            self._logged[who] = why
            log.warning("direct links: %s is refused: %s", who, why)


def _format_error(exc: Exception) -> str:
    return f"{exc}: {exc.why}" if isinstance(exc, PancodeError) else str(exc)


async def _say(writer: asyncio.StreamWriter, answer: dict[str, object]) -> None:
    writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    await writer.drain()
