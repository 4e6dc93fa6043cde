"""Serves an agent's model calls: checks, waits, asks with the key, passes the answer on, counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from node_agent.gateway.counting import FIRST_WAIT_S, PATIENT, Count, Storm
from node_agent.gateway.http import (
    HEAD_BYTES,
    LAST_CHUNK,
    BadMessage,
    Framing,
    Gone,
    Head,
    chunk,
    framing_of,
    head_bytes,
    read_head,
    read_whole,
)
from node_agent.gateway.meter import Meter, Wire, meter_of
from node_agent.gateway.prices import Prices
from node_agent.gateway.routes import (
    AUTH,
    HOP,
    NotAllowed,
    Route,
    asked_of,
    check_model,
    error_body,
    presented,
    route_of,
    split_target,
    wire_of,
    with_usage,
)
from node_agent.gateway.spec import Spec
from node_agent.gateway.upstream import Answer, Server, Unreachable, Upstream

KEPT_ERROR = 16 << 10
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that may go on. `body` as it is sent; `agent`: the headers that the agent gave."""

    method: str
    path: str
    query: str
    head: Head
    body: bytes
    route: Route
    model: str


@dataclass(frozen=True, slots=True)
class Told:
    """An error of the server's, kept to be told again."""

    status: int
    kind: str
    body: bytes


class Gateway:
    """All connections of one run. `saved` is called with each new count, before the agent sees the end."""

    def __init__(self, spec: Spec, saved: Callable[[Count], None]) -> None:
        self.count = Count()
        self._spec, self._saved = spec, saved
        self._upstream = Upstream(Server.parse(spec.upstream, spec.mount))
        self._prices = Prices(spec.owner_prices(), spec.public)
        self._caps, self._storm = spec.caps, Storm()
        self._last: Told | None = None
        self._open: set[asyncio.Task[Any]] = set()

    def connection(self) -> Connection:
        """For each that comes in: what an event loop's server asks for."""
        return Connection(self._serve)

    async def _serve(self, client: Client) -> None:
        """One connection of the agent, request after request."""
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        try:
            while await self._one(client):
                pass
        except (Gone, OSError, asyncio.CancelledError):
            pass
        finally:
            client.close()

    async def close(self) -> None:
        """End what is under way; its count is saved."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._upstream.close()

    async def _one(self, client: Client) -> bool:
        """Whether the connection may have another request."""
        wire, head = Wire.CHAT, None
        try:
            head = await client.next()
            if head is None:
                return False
            wire = wire_of(head.start)
            ask = await self._read(client, head)
            with client.at_work():
                await self._answer(client, ask)
        except NotAllowed as refusal:
            self._note(refused=self.count.refused + 1, words=self.count.words or str(refusal))
            if self.count.refused > PATIENT:  # who does not listen must not keep the machine busy
                await asyncio.sleep(FIRST_WAIT_S)
            await client.say(403, error_body(wire, 403, str(refusal)))
        except Unreachable as failed:
            await client.say(502, error_body(wire, 502, f"the model server: {failed}"))
        except BadMessage as bad:
            await client.say(400, error_body(wire, 400, str(bad)), closes=True)
            return False
        return head is not None and not head.closes

    async def _read(self, client: Client, head: Head) -> Ask:
        """The whole request, checked. Raises NotAllowed and BadMessage."""
        body = await client.body(head)
        method, target = head.start.split(" ")[:2]
        path, query, key = split_target(target)
        route = route_of(method, path)
        if presented(dict(head.headers), key) != self._spec.token:
            raise NotAllowed("this is not the key that the run was given")
        model, asked = asked_of(route, body)
        if route.counted:
            check_model(model, self._spec.models)
        return Ask(method, path, query, head, with_usage(route.wire, body, asked), route, model)

    async def _answer(self, client: Client, ask: Ask) -> None:
        if not ask.route.counted:
            return await self._pass_on(client, await self._ask(ask), None)
        limit, words = self._caps.reached(self.count)
        if limit:
            if not self.count.limit:
                self._note(limit=limit, words=words)
            raise NotAllowed(words)
        self.count = replace(self.count, requests=self.count.requests + 1)
        cut = self._last if self._storm.is_cut(_now()) else None
        if wait := self._storm.wait():
            await asyncio.sleep(wait)
        if cut is not None:
            return await client.say(cut.status, cut.body, cut.kind)
        return await self._counted(client, ask)

    async def _counted(self, client: Client, ask: Ask) -> None:
        """A call that costs: whatever becomes of it, it is counted."""
        ok = False
        try:
            answer = await self._heard(ask)
            if answer.status >= 300:
                return await self._failed(client, answer)
            await self._metered(client, ask, answer)
            ok = True
        except Unreachable as failed:
            self._last = Told(502, "", error_body(ask.route.wire, 502, f"the model server: {failed}"))
            raise
        finally:
            self._storm = self._storm.after(ok, _now())
            if not ok:
                self._note(failed=self.count.failed + 1)

    async def _heard(self, ask: Ask) -> Answer:
        """The server's answer, or a note that there was none."""
        try:
            return await self._ask(ask)
        except (Unreachable, asyncio.CancelledError) as exc:
            if not isinstance(exc, Unreachable) or exc.sent:
                self.count = self.count.unanswered()
            raise

    async def _metered(self, client: Client, ask: Ask, answer: Answer) -> None:
        meter = meter_of(ask.route.wire, answer.head.get("content-type"))
        due = [meter]
        try:
            await self._pass_on(client, answer, meter, lambda: self._book(ask, due))
        finally:
            self._book(ask, due)

    async def _failed(self, client: Client, answer: Answer) -> None:
        """As the server said it, and kept: should it say so again and again, we tell it ourselves."""
        kept = bytearray()
        await self._pass_on(client, answer, _Keep(kept))
        self._last = Told(answer.status, answer.head.get("content-type"), bytes(kept))

    def _book(self, ask: Ask, due: list[Meter]) -> None:
        """Once for each answer."""
        while due:
            meter = due.pop()
            meter.close()
            model = meter.reading.model or ask.model
            price = self._prices.of(model, ask.model)
            self.count = self.count.answered(meter.reading, price, model)
            self._saved(self.count)

    def _note(self, **changes: Any) -> None:
        self.count = replace(self.count, **changes)
        self._saved(self.count)

    async def _ask(self, ask: Ask) -> Answer:
        kept = [(name, value) for name, value in ask.head.headers if name not in AUTH | HOP]
        spec = self._spec
        if spec.key:
            value = f"Bearer {spec.key}" if spec.header == "authorization" else spec.key
            kept.append((spec.header, value))
        kept.append(("accept-encoding", "identity"))
        target = self._upstream.server.path(ask.path, ask.query)
        return await self._upstream.ask(ask.method, target, kept, ask.body)

    async def _pass_on(
        self, client: Client, answer: Answer, meter: Any, last: Callable[[], None] = lambda: None
    ) -> None:
        """Piece by piece as it comes. `last` is called when all is there, before its end is passed on."""
        try:
            out = await client.begin(answer)
            async for piece in answer.pieces():
                if meter is not None:
                    meter.feed(piece)
                await out.send(piece)
            last()
            await out.end()
        except (BadMessage, OSError) as exc:
            raise Gone("the answer broke off") from exc  # the agent's connection breaks off as well
        finally:
            answer.close()


class _Keep:
    """The beginning of an error's body."""

    def __init__(self, kept: bytearray) -> None:
        self._kept = kept

    def feed(self, piece: bytes) -> None:
        self._kept += piece[: max(KEPT_ERROR - len(self._kept), 0)]


class Body:
    """An answer's body on its way to the agent; the last piece is held until `end`."""

    def __init__(self, writer: asyncio.StreamWriter, chunked: bool) -> None:
        self._writer, self._chunked = writer, chunked
        self._held = b""

    async def send(self, piece: bytes) -> None:
        if self._chunked:
            self._writer.write(chunk(piece))
        else:
            self._writer.write(self._held)
            self._held = piece
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(LAST_CHUNK if self._chunked else self._held)
        await self._writer.drain()


class Connection(asyncio.StreamReaderProtocol):
    """One connection, which notices at once that the agent has hung up, also while it waits for an answer."""

    def __init__(self, serve: Callable[[Client], Awaitable[None]]) -> None:
        self._client: Client | None = None
        super().__init__(asyncio.StreamReader(limit=HEAD_BYTES), self._begun)
        self._serve = serve

    async def _begun(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = Client(reader, writer)
        await self._serve(self._client)

    def eof_received(self) -> bool | None:
        kept = super().eof_received()
        self._over()
        return kept

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._over()

    def _over(self) -> None:
        if self._client is not None:
            self._client.hung_up()


class Client:
    """The agent's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._working: asyncio.Task[Any] | None = None

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """While it waits for us: should it hang up, our own task is cancelled."""
        self._working = asyncio.current_task()
        try:
            yield
        finally:
            self._working = None

    def hung_up(self) -> None:
        if self._working is not None:
            self._working.cancel()

    def close(self) -> None:
        self._writer.close()

    async def next(self) -> Head | None:
        return await read_head(self._reader)

    async def body(self, head: Head) -> bytes:
        if "100-continue" in head.joined("expect"):
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await read_whole(self._reader, framing_of(head, 0))

    async def begin(self, answer: Answer) -> Body:
        """The head of the server's answer, its body to follow."""
        kept = [(name, value) for name, value in answer.head.headers if name not in HOP]
        chunked = isinstance(answer.framing, Framing)
        framing = ("transfer-encoding", "chunked") if chunked else ("content-length", str(answer.framing))
        start = "HTTP/1.1 " + answer.head.start.split(" ", 1)[1]
        self._writer.write(head_bytes(start, [*kept, framing]))
        return Body(self._writer, chunked)

    async def say(self, status: int, body: bytes, kind: str = "", closes: bool = False) -> None:
        """Words of our own."""
        headers = [("content-type", kind or "application/json"), ("content-length", str(len(body)))]
        if closes:
            headers.append(("connection", "close"))
        start = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}"
        self._writer.write(head_bytes(start, headers) + body)
        await self._writer.drain()


def _now() -> float:
    return asyncio.get_running_loop().time()
