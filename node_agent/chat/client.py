"""Calls a model server with OpenAI's chat API: always streamed, always with limits, never repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from node_agent.chat.dialect import Question, Trouble, broken_off, make_trouble, request_of
from node_agent.chat.messages import Answer
from node_agent.chat.stream import DONE, Stream
from node_agent.wire.clock import Ids
from node_agent.wire.endpoint import Sampling

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    import httpx2

CONNECT_S, FIRST_S, BETWEEN_S = 10.0, 600.0, 120.0
"""Seconds to connect; to the first chunk, because a slow server reads a long prompt for minutes; and between
chunks. A socket's time-out would not suffice: servers keep a dead stream open with comments."""
HEARTBEAT_S, QUIET_S = 0.04, 0.25
"""Seconds between two heartbeats: while text is written, and while a program waits and only users act."""
MOST_BYTES, MOST_ERROR = 64 << 20, 64 << 10
PATH = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Server:
    """A model server. `url`: including `/v1`. `tls`: the trusted authorities; None: those of this computer.
    `proxies`: whether the environment's proxies are used."""

    url: str
    key: str = ""
    tls: ssl.SSLContext | None = None
    connect_s: float = CONNECT_S
    proxies: bool = False

    def __repr__(self) -> str:
        return f"Server({self.url})"


class Model:
    """One model on one server. Not thread-safe. `on_text` gets each piece of text as it arrives."""

    def __init__(self, name: str, server: Server, on_text: Callable[[str], None], ids: Ids) -> None:
        self._name, self._server, self._on_text, self._ids = name, server, on_text, ids
        self.sampling: Sampling | None = None
        """The model's sampling settings; None: the server's defaults."""
        self.newest = False
        """Whether the server is OpenAI's own, whose newest models use another name for the limit."""
        self.on_thought: Callable[[str], None] | None = None
        """Gets each piece of what the model thinks, as it arrives."""
        self.heartbeat: Callable[[], float] | None = None
        """Called during an answer; returns the seconds until the next call. An exception ends the request."""

    def ask(self, question: Question) -> Answer:
        """Return the model's answer. Raises Trouble for every problem that a server can cause."""
        answer = asyncio.run(
            self._ask(question) if self.heartbeat is None else self._kept_alive(question, self.heartbeat)
        )
        calls = tuple(one if one.id else replace(one, id=self._ids.token(8)) for one in answer.calls)
        return replace(answer, calls=calls)

    async def _kept_alive(self, question: Question, heartbeat: Callable[[], float]) -> Answer:
        task, pause = asyncio.ensure_future(self._ask(question)), HEARTBEAT_S
        try:
            while not (await asyncio.wait({task}, timeout=pause))[0]:
                pause = heartbeat()
        finally:
            task.cancel()  # closes the connection if the connection is still open
            await asyncio.wait({task})
        return task.result()

    async def _ask(self, question: Question) -> Answer:
        body, stream = request_of(question, self._name, self.sampling, self.newest), Stream()
        try:
            async with (
                asyncio.timeout(max(question.until_s, 1.0)),
                asyncio.timeout(FIRST_S) as waiting,
                aclosing(read_events(self._server, body)) as coming,
            ):
                async for event in coming:
                    waiting.reschedule(asyncio.get_running_loop().time() + BETWEEN_S)
                    if piece := stream.take(event):
                        self._on_text(piece)
                    if stream.thinking and self.on_thought is not None:
                        self.on_thought(stream.thinking)
        except TimeoutError as exc:
            raise Trouble("no answer in time", passing=True) from exc
        if stream.error:
            raise broken_off(stream.error)
        if not stream.is_whole:
            what = "part of it is not JSON" if stream.garbled else "the answer's stream ended too early"
            raise Trouble(f"the answer could not be read: {what}", passing=True)
        return stream.answer()


async def read_events(server: Server, body: Mapping[str, Any], most: int = MOST_BYTES) -> AsyncGenerator[str]:
    """Yield the data of each event; an answer that is not streamed comes in one piece. Raises Trouble.
    Closing the generator closes the connection, which frees the server's slot."""
    async with _open_response(server, body) as response:
        line, plain, read = b"", bytearray(), 0
        async for piece in response.aiter_bytes():
            if (read := read + len(piece)) > most:
                raise Trouble(f"the answer is longer than {most >> 20} MB")
            *lines, line = (line + piece).split(b"\n")
            for one in lines:
                if one.startswith(b"data:"):
                    if data := one[5:].strip():  # empty events only keep the connection open
                        yield data.decode("utf-8", "replace")
                    if data.startswith(DONE.encode()):
                        return
                elif not one.startswith((b":", b"event:", b"id:", b"retry:")):
                    plain += one
        if rest := bytes(plain + line).removeprefix(b"data:").strip():
            yield rest.decode("utf-8", "replace")


@asynccontextmanager
async def _open_response(server: Server, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
    """Open a connection for each request, so that a restarted server is never called over an old one."""
    import httpx2  # imported only at the first request: the node agent usually makes none
    from socksio import SOCKSError

    headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
    if server.key:
        headers["authorization"] = f"Bearer {server.key}"
    tls = server.tls or server.url.startswith("https:")
    limit = httpx2.Timeout(None, connect=server.connect_s)
    try:
        made = httpx2.AsyncClient(verify=tls, trust_env=server.proxies, timeout=limit)
    except (ImportError, ValueError) as exc:  # raised for a proxy of another scheme
        raise Trouble(f"the environment's proxy cannot be used: {exc}", reached=False) from exc
    try:
        async with (
            made as client,
            client.stream("POST", f"{server.url}{PATH}", json=body, headers=headers) as response,
        ):
            if response.status_code != 200:
                data = b""
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) >= MOST_ERROR:
                        break
                raise make_trouble(response.status_code, data[:MOST_ERROR], _wait_of(response))
            yield response
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
        raise Trouble(f"cannot be reached: {_describe_error(exc)}", passing=True, reached=False) from exc
    except (httpx2.HTTPError, httpx2.InvalidURL, SOCKSError) as exc:
        raise Trouble(f"the connection broke: {_describe_error(exc)}", passing=True) from exc


def _wait_of(response: httpx2.Response) -> float | None:
    """Return the seconds that the server asks us to wait; a date is not used, because clocks differ."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = response.headers.get(name, "")
        if value.isdecimal() and len(value) < 10:
            return int(value) / unit
    return None


def first_of(exc: BaseException) -> BaseException:
    """Return the error of the system or the TLS handshake that caused httpx's error."""
    while (before := exc.__cause__ or exc.__context__) is not None:
        exc = before
    return exc


def _describe_error(exc: BaseException) -> str:
    first = first_of(exc)
    return str(first) or type(first).__name__
