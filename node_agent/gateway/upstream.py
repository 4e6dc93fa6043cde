"""Calls the one model server of a run, directly or through the owner's proxy; reuses connections."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from node_agent.gateway.http import (
    HEAD_BYTES,
    BadMessage,
    Framing,
    Head,
    Headers,
    body_of,
    framing_of,
    head_bytes,
    read_head,
)
from node_agent.link.trusting import make_tls_context
from node_agent.vault.redact import redact_text

CONNECT_S = 10.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DialError(Exception):
    """No connection was made, or it broke before an answer. `sent`: the server may have got the request."""

    def __init__(self, words: str, sent: bool = True) -> None:
        super().__init__(words)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Proxy:
    """The owner's proxy; no `url`: no proxy. `login`: user:password; `direct`: hosts reached without it."""

    url: str = ""
    login: str = ""
    direct: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Proxy({self.url})"

    def is_for(self, host: str) -> bool:
        """Whether calls to the host go through the proxy; calls to this node's own servers never do."""
        return bool(self.url) and not any(
            _fits_rule(host.lower(), one) for one in ("localhost", *_HERE, *self.direct)
        )

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80


NO_PROXY = Proxy()
_HERE = ("127.0.0.0/8", "::1/128")


async def dial(host: str, port: int, proxy: Proxy, tls: ssl.SSLContext | None) -> Streams:
    """Connect, with TLS if there is a context. DialError: nothing of the request was sent."""
    name = f"{host}:{port}"
    through = proxy.is_for(host) and (tls is not None or port == 443)
    try:
        async with asyncio.timeout(CONNECT_S):
            if not through:
                return await asyncio.open_connection(host, port, ssl=tls, limit=HEAD_BYTES)
            return await _dial_through(proxy, host, port, tls)
    except (OSError, TimeoutError, UnicodeError) as exc:  # UnicodeError: a name that cannot be a host's
        way = f" through the proxy {':'.join(map(str, proxy.place))}" if through else ""
        raise DialError(f"{name} cannot be reached{way}: {words_of(exc)}", sent=False) from exc


async def _dial_through(proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | None) -> Streams:
    """Connect through the proxy, which resolves the host's name; the proxy sees only this name and TLS."""
    at = ":".join(map(str, proxy.place))
    try:
        reader, writer = await asyncio.open_connection(*proxy.place, limit=HEAD_BYTES)
    except OSError as exc:
        words = f"the proxy {at} of gateway.json cannot be reached: {words_of(exc)}"
        raise DialError(words, sent=False) from exc
    try:
        await _ask(proxy, reader, writer, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", at)
        if tls is not None:
            await writer.start_tls(tls, server_hostname=host)
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def _ask(
    proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, at: str
) -> None:
    headers = [("host", name)]
    if proxy.login:
        shown = base64.b64encode(proxy.login.encode()).decode()
        headers.append(("proxy-authorization", f"Basic {shown}"))
    writer.write(head_bytes(f"CONNECT {name} HTTP/1.1", headers))
    await writer.drain()
    try:
        head = await read_head(reader)
    except BadMessage as exc:
        raise DialError(f"{at}, the proxy of gateway.json, is not an HTTP proxy: {exc}", sent=False) from exc
    status = head.start.split(" ", 1)[1] if head is not None else "the proxy closed the connection"
    if status[:3] == "407":
        words = (
            f"the proxy {at} requires a login: store user:password in secrets.json and name it in "
            "gateway.json"
        )
        raise DialError(f"{words} (proxy_login)", sent=False)
    if status[:1] != "2":
        login = {"proxy login": proxy.login, "proxy password": proxy.login.partition(":")[2]}
        raise DialError(
            f"the proxy {at} of gateway.json refuses to connect to {name}: "
            f"{redact_text(status, login)[:200]}",
            sent=False,
        )


def words_of(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


def _fits_rule(host: str, rule: str) -> bool:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        mapped = address.ipv4_mapped if address.version == 6 else None
        return (mapped or address) in ipaddress.ip_network(rule, strict=False)
    host, name = host.removesuffix("."), rule.lower().strip(".")
    return host == name or host.endswith(f".{name}")


LONGEST_WAIT_S = 86_400
TOO_MANY = 429
KEPT = 4


@dataclass(frozen=True, slots=True)
class UpstreamServer:
    """The server's address. `base`: the prefix of each path on it; `mount`: the prefix that agents use."""

    host: str
    port: int
    tls: bool
    base: str
    mount: str

    @classmethod
    def parse(cls, url: str, mount: str) -> UpstreamServer:
        """Parse the address of a server; ValueError for any other text."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(f"{url!r} is not the http(s) address of a model server")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname, port, tls, parts.path.rstrip("/"), mount)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def path(self, path: str, query: str) -> str:
        """Return the path on the server for the agent's `path`."""
        target = self.base + path.removeprefix(self.mount)
        return f"{target}?{query}" if query else target


class UpstreamLine:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.is_used = False

    @property
    def is_good(self) -> bool:
        return not (self.reader.at_eof() or self.writer.is_closing())

    def close(self) -> None:
        self.writer.close()


class UpstreamResponse:
    """The head of an answer, and its body, which can be read once. An early close closes the connection."""

    def __init__(self, head: Head, line: UpstreamLine, pool: Upstream) -> None:
        self.head, self._line, self._pool = head, line, pool
        word = head.start.split(" ", 2)[1]
        if not head.start.startswith("HTTP/1.") or not (word.isdigit() and len(word) == 3):
            raise BadMessage("the answer is not HTTP/1")
        self.status = int(word)
        none = self.status in (204, 304)
        self.framing = 0 if none else framing_of(head, Framing.TO_THE_END)
        self._whole = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body's pieces. Raises BadMessage or OSError if it breaks off."""
        async for piece in body_of(self._line.reader, self.framing):
            yield piece
        self._whole = True

    def close(self) -> None:
        """Keep the connection for reuse if the last piece has arrived; otherwise close it."""
        reusable = self._whole and self.framing is not Framing.TO_THE_END and not self.head.closes
        self._pool.take_back(self._line, reusable)


class Upstream:
    """The server, with its open connections. `ask` may be called concurrently."""

    def __init__(self, server: UpstreamServer, proxy: Proxy = NO_PROXY, ca: str = "") -> None:
        self.server, self._proxy = server, proxy
        self._idle: list[UpstreamLine] = []
        self._tls = make_tls_context(ca or None) if server.tls else None

    async def ask(self, method: str, target: str, headers: Headers, body: bytes) -> UpstreamResponse:
        """Send a request over an open or new connection; return the answer. Raises DialError."""
        host = [("host", self.server.authority), ("content-length", str(len(body)))]
        data = head_bytes(f"{method} {target} HTTP/1.1", [*host, *headers]) + body
        line = await self._take_line()
        try:
            return await self._exchange(line, data)
        except (OSError, BadMessage, EOFError) as exc:
            if not (line.is_used and isinstance(exc, OSError | EOFError)):
                raise DialError(f"{self.server.authority}: {words_of(exc)}") from exc
        line = await self._open_line()
        try:
            return await self._exchange(line, data)
        except (OSError, BadMessage, EOFError) as exc:
            raise DialError(f"{self.server.authority}: {words_of(exc)}") from exc

    async def _exchange(self, line: UpstreamLine, data: bytes) -> UpstreamResponse:
        """Send the request over this connection. EOFError if the server closes it without sending a byte."""
        try:
            line.writer.write(data)
            await line.writer.drain()
            while True:
                head = await read_head(line.reader)
                if head is None:
                    raise EOFError("the server closed the connection without an answer")
                answer = UpstreamResponse(head, line, self)
                if answer.status >= 200:
                    return answer
        except BaseException:
            line.close()
            raise

    async def _take_line(self) -> UpstreamLine:
        while self._idle:
            line = self._idle.pop()
            if line.is_good:
                line.is_used = True
                return line
            line.close()
        return await self._open_line()

    async def _open_line(self) -> UpstreamLine:
        return UpstreamLine(*await dial(self.server.host, self.server.port, self._proxy, self._tls))

    def take_back(self, line: UpstreamLine, reusable: bool) -> None:
        if reusable and line.is_good and len(self._idle) < KEPT:
            self._idle.append(line)
        else:
            line.close()

    def close(self) -> None:
        for line in self._idle:
            line.close()
        self._idle.clear()


def parse_retry_after(head: Head) -> int:
    """Return the whole seconds that the server asks us to wait; 0 if it names none or sends a date."""
    text = head.get("retry-after").strip().partition(".")[0]
    return min(int(text), LONGEST_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0


FRESH_S = 60
"""The seconds for which a reported rate limit is remembered, unless the limit resets earlier."""
LONGEST_FRESH_S = 300
"""The maximum seconds for which a refusal is remembered; later calls reach the server again."""
BRIEF_S = 5
"""Seconds; a limit that resets sooner is not a shortage."""
_OF = ("requests", "tokens", "input-tokens", "output-tokens")
_RATES = tuple(
    (of, *(name.format(of, what) for what in ("remaining", "limit", "reset")))
    for of in _OF
    for name in ("anthropic-ratelimit-{0}-{1}", "x-ratelimit-{1}-{0}")
)
"""What is limited, and the headers with its remaining amount, its limit and its reset time."""
_OF_LIMIT = re.compile(r"[0-9]{1,15}/[0-9]{1,15}")
_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})(?:\.[0-9]+)?s)?")
_BELOW_A_SECOND = re.compile(r"[0-9.]{1,20}(?:m|u|n|\xb5|\xc2\xb5)s")


def rate_left(status: int, head: Head) -> tuple[int | None, int]:
    """Return the remaining percentage of the scarcest rate limit (0 if the server refuses because of one;
    None: no shortage is reported), and the seconds for which this percentage is valid.

    Token limits that reset within a minute do not count: one long prompt uses most of them, and they refill
    steadily. A server that refuses a call because of such a limit reports it.
    """
    if status == TOO_MANY:
        return 0, min(parse_retry_after(head) or FRESH_S, LONGEST_FRESH_S)
    rates = []
    for of, left, limit, reset in _RATES:
        if _OF_LIMIT.fullmatch(f"{head.get(left)}/{head.get(limit)}") and int(head.get(limit)):
            whole_s = whole_in(head.get(reset), head.get("date"))
            if whole_s is None or whole_s > (BRIEF_S if of == "requests" else FRESH_S):
                share = min(100, 100 * int(head.get(left)) // int(head.get(limit)))
                rates.append((share, FRESH_S if whole_s is None else min(FRESH_S, whole_s)))
    return min(rates, default=(None, 0))


def whole_in(text: str, date: str) -> int | None:
    """Return the whole seconds until a limit resets; None if `text` is invalid. `text` is a duration in Go's
    format, or an instant (RFC 3339) by the server's clock; `date` is the date of the server's answer."""
    if _BELOW_A_SECOND.fullmatch(text):
        return 0
    if text and (found := _DURATION.fullmatch(text)):
        hours, minutes, seconds = (int(one or 0) for one in found.groups())
        return 3600 * hours + 60 * minutes + seconds
    try:
        return int((datetime.fromisoformat(text) - parsedate_to_datetime(date)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
