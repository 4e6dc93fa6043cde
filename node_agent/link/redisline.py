"""Commands to one Redis over as many connections as threads ask at once; and a subscription."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from dataclasses import dataclass
from typing import Any

from node_agent.link.direct import Secure, dial
from node_agent.link.resp import Answers, Lost, Refused, Words, packed

Place = str | tuple[str, int] | Secure
"""Path of a unix socket, or host and port; or the coordinator by TLS."""

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in, and how long to wait."""

    place: Place
    user: str
    password: str
    connect_s: float
    answer_s: float


class Link:
    """An open connection, logged in. For one thread, but `cut` is for any. Troubles are RedisError."""

    def __init__(self, access: Access) -> None:
        try:
            self._sock = _connected(access.place, access.connect_s)
        except OSError as exc:
            raise Lost(f"it cannot be reached: {exc}") from exc
        self._answers = Answers(self._more)
        try:
            self._sock.settimeout(access.answer_s)
            self.say(("AUTH", access.user, access.password))
            answer = self.hear()
            if isinstance(answer, Refused):
                raise answer
            if answer != b"OK":
                raise Lost(f"it does not speak as Redis does: {answer!r:.60} to a login")
        except BaseException:
            self.close()
            raise

    def say(self, *commands: Words) -> None:
        """Send them at once."""
        try:
            self._sock.sendall(b"".join(map(packed, commands)))
        except OSError as exc:
            raise Lost(f"it takes nothing: {exc}") from exc

    def hear(self) -> Any:
        """The next answer, as `Answers` tells it."""
        return self._answers.hear()

    def waits(self, seconds: float) -> bool:
        """Whether something is there to be heard, be it the connection's end; waits so long for it."""
        if self._answers.pending():
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(max(0, seconds) * 1000))

    def cut(self) -> None:
        """Whoever waits here waits no longer."""
        with contextlib.suppress(OSError):  # it is cut already
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()

    def _more(self) -> bytes:
        try:
            return self._sock.recv(_PIECE)
        except TimeoutError as exc:
            raise Lost("it does not answer in time") from exc
        except OSError as exc:
            raise Lost(f"it cannot be heard: {exc}") from exc


class Client:
    """Thread-safe. Sends nothing twice: whoever asks knows what may be repeated. Troubles are RedisError."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._idle: list[Link] = []
        self._busy: set[Link] = set()
        self._closed = False

    def ask(self, *commands: Words) -> list[Any]:
        """All sent at once; their answers. The first refusal raises, when all are read."""
        link = self._take()
        try:
            link.say(*commands)
            answers = [link.hear() for _ in commands]
        except BaseException:
            self._drop(link)
            raise
        self._put(link)
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        return answers

    def close(self) -> None:
        """For good: who is waiting for an answer waits no longer."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for link in self._busy:
                link.cut()
        for link in idle:
            link.close()

    # -- inside

    def _take(self) -> Link:
        """One on which something waits was ended meanwhile: nobody asked."""
        while (link := self._old()) is not None:
            if not link.waits(0):
                return link
            self._drop(link)
        link = Link(self._access)
        with self._lock:
            if not self._closed:
                self._busy.add(link)
                return link
        link.close()
        raise Lost("it was closed")

    def _old(self) -> Link | None:
        with self._lock:
            if not self._idle:
                return None
            link = self._idle.pop()
            self._busy.add(link)
            return link

    def _put(self, link: Link) -> None:
        with self._lock:
            self._busy.discard(link)
            if not self._closed:
                self._idle.append(link)
                return
        link.close()

    def _drop(self, link: Link) -> None:
        with self._lock:  # not closed before it is out: `close` must not cut another's descriptor
            self._busy.discard(link)
        link.close()


class Subscription:
    """To one channel, on a connection of its own. For one thread. Troubles are RedisError."""

    def __init__(self, access: Access, channel: str) -> None:
        self._link = Link(access)
        try:
            self._link.say(("SUBSCRIBE", channel))
        except BaseException:
            self._link.close()
            raise

    def next(self, wait_s: float) -> bytes | None:
        """The kind of what has come, such as `message`, `subscribe` or `pong`; None: nothing came in time."""
        if not self._link.waits(wait_s):
            return None
        match self._link.hear():
            case [bytes(kind), *_]:
                return kind
            case Refused() as refusal:
                raise refusal
        raise Lost("it does not speak as to a subscriber")

    def ping(self) -> None:
        self._link.say(("PING",))

    def close(self) -> None:
        self._link.close()


def _connected(place: Place, patience_s: float) -> socket.socket:
    if isinstance(place, Secure):
        return dial(place, patience_s)
    if not isinstance(place, str):
        sock = socket.create_connection(place, patience_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(patience_s)
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock
