"""Opens connections from the gateway to a server: directly, or through the owner's proxy by CONNECT."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from node_agent.gateway.http import HEAD_BYTES, BadMessage, head_bytes, read_head

CONNECT_S = 10.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DialError(Exception):
    """No connection, or it broke before there was an answer. `sent`: the server may have the request."""

    def __init__(self, words: str, sent: bool = True) -> None:
        super().__init__(words)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Proxy:
    """The owner's; no `url`: none. `login`: user:password; `direct`: hosts, domains and networks past it."""

    url: str = ""
    login: str = ""
    direct: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Proxy({self.url})"

    def is_for(self, host: str) -> bool:
        """This machine's own servers are never asked for through a proxy."""
        return bool(self.url) and not any(
            _fits(host.lower(), one) for one in ("localhost", *_HERE, *self.direct)
        )

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80


NO_PROXY = Proxy()
_HERE = ("127.0.0.0/8", "::1/128")


async def dial(host: str, port: int, proxy: Proxy, tls: ssl.SSLContext | None) -> Streams:
    """A connection, behind TLS where there is a context. Unreachable: nothing of ours was sent."""
    name = f"{host}:{port}"
    through = proxy.is_for(host) and (tls is not None or port == 443)
    try:
        async with asyncio.timeout(CONNECT_S):
            if not through:
                return await asyncio.open_connection(host, port, ssl=tls, limit=HEAD_BYTES)
            return await _through(proxy, host, port, tls)
    except (OSError, TimeoutError) as exc:
        way = f" through the proxy {':'.join(map(str, proxy.place))}" if through else ""
        raise DialError(f"{name} cannot be reached{way}: {words_of(exc)}", sent=False) from exc


async def _through(proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | None) -> Streams:
    """The proxy finds the host's address itself; what it sees is its name, and TLS."""
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
        raise DialError(f"{at}, the proxy of gateway.json, is no HTTP proxy: {exc}", sent=False) from exc
    status = head.start.split(" ", 1)[1] if head is not None else "it hung up"
    if status[:3] == "407":
        words = f"the proxy {at} wants a login: name one of secrets.json, user:password, in gateway.json"
        raise DialError(f"{words} (proxy_login)", sent=False)
    if status[:1] != "2":
        raise DialError(
            f"the proxy {at} of gateway.json refuses a connection to {name}: {status[:200]}", sent=False
        )


def words_of(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


def _fits(host: str, rule: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    name = rule.lower().lstrip(".")
    return host == name or host.endswith(f".{name}")
