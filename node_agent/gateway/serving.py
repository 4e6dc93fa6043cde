"""Serves an agent's model calls: checks, waits, adds the key, forwards the answer and counts the usage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.gateway import counting
from node_agent.gateway.client import (
    AgentClient,
    AgentConnection,
    Lobby,
    OpenConnection,
    Room,
    check_values,
    find_body_limit,
)
from node_agent.gateway.http import BadMessage, BrokenAnswer, Gone, Head, TooLarge, framing_of
from node_agent.gateway.meter import Meter, Wire, meter_of, terms_of
from node_agent.gateway.prices import Prices
from node_agent.gateway.requests import (
    AUTH,
    HOP,
    NotAllowed,
    RequestTarget,
    Route,
    Stranger,
    as_last,
    check_model,
    error_body,
    filtered_by,
    parse_model_body,
    target_of,
    wire_of,
    with_usage,
)
from node_agent.gateway.slots import Full, SlotLocks
from node_agent.gateway.spec import GatewaySpec, read_grant
from node_agent.gateway.upstream import (
    DialError,
    Upstream,
    UpstreamResponse,
    UpstreamServer,
    parse_retry_after,
    rate_left,
)
from node_agent.vault.redact import SHORTEST, Redactor, redact_text

KEPT_ERROR = 16 << 10
MOST_ERROR = 1 << 20
"""The maximum bytes of an unsuccessful answer: all of it is searched for the key."""
ANSWER_S, LOOK_S = 30.0, 0.2
"""How long a call waits for a larger reservation, and the time between two looks for it."""
BUSY = 429
MOST_OPEN = 256
"""The maximum number of connections that have shown the run's key."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request that may be forwarded. `body`: as sent; `expected`: its usage; `terms`: price attributes."""

    target: RequestTarget
    head: Head
    body: bytes
    model: str
    expected: counting.Expected
    terms: Mapping[str, str]

    @property
    def route(self) -> Route:
        return self.target.route


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """An error answer of the server, stored for repeated use."""

    status: int
    kind: str
    body: bytes


class Gateway:
    """The gateway of one run. `saved` is called with each new count before the agent gets the end."""

    def __init__(self, spec: GatewaySpec, saved: Callable[[counting.Count], None]) -> None:
        self.count = counting.Count(local=spec.local)
        self._spec, self._saved = spec, saved
        self._upstream = Upstream(UpstreamServer.parse(spec.upstream, spec.mount), spec.way, spec.ca)
        self._prices = Prices(spec.owner_prices(), spec.public, spec.local, spec.host)
        self._allowance = counting.Allowance(spec.caps, lambda: self.count, self.ask_coordinator)
        self._storm = counting.Storm()
        self._slots = SlotLocks(spec.slots_folder, spec.slots) if spec.slots else None
        self._last: UpstreamError | None = None
        self._secrets = {"model key": spec.key}
        self._lobby = Lobby(MOST_OPEN)
        self._room = Room()
        self._strangers = 0

    def connection(self) -> AgentConnection:
        """Create the protocol of a connection for an event loop's server."""
        return AgentConnection(self._serve)

    async def _serve(self, client: AgentClient) -> None:
        """Serve one connection, request after request."""
        hung_up = contextlib.suppress(Gone, OSError, asyncio.CancelledError)
        with hung_up, contextlib.closing(client.writer), self._lobby.visit(client.writer) as caller:
            while await self._serve_request(client, caller):
                pass

    async def close(self) -> None:
        """End all running requests; their count is saved."""
        await self._lobby.close()
        self._upstream.close()

    async def _serve_request(self, client: AgentClient, caller: OpenConnection) -> bool:
        """Serve one request; return whether another one may follow on the connection."""
        wire, head = Wire.CHAT, None
        try:
            head = await client.next()
            if head is None:
                return False
            wire = wire_of(head.start)
            target = await self._judge_head(client, caller, head)
            if target is None:
                return False
            async with self._room.of(framing_of(head, 0), find_body_limit(target)):
                request = await self._read(client, head, target)
                with client.at_work():
                    await self._answer(client, request)
        except NotAllowed as refusal:
            await self._refuse(client, wire, refusal)
        except DialError as failed:
            await client.say(502, error_body(wire, 502, f"the model server: {failed}"))
        except TooLarge as large:
            await client.say(413, error_body(wire, 413, str(large)), closes=True)
            return False
        except BadMessage as bad:
            await client.say(400, error_body(wire, 400, str(bad)), closes=True)
            return False
        return head is not None and not (head.closes or head.is_old)

    async def _judge_head(
        self, client: AgentClient, caller: OpenConnection, head: Head
    ) -> RequestTarget | None:
        """Check a request's head; return its target, or None after refusing it without reading its body."""
        wire = wire_of(head.start)
        try:
            target = target_of(head.start, dict(head.headers), self._spec.token)
        except NotAllowed as refusal:
            await client.drop(head)
            await self._refuse(client, wire, refusal, closes=True)
            return None
        if not self._lobby.knows(caller):
            await client.drop(head)
            words = (
                f"this run has {MOST_OPEN} open connections to its model, which is the maximum: close some"
            )
            await client.say(503, error_body(wire, 503, words), closes=True)
            return None
        client.is_known = True
        return target

    async def _refuse(
        self, client: AgentClient, wire: Wire, refusal: NotAllowed, closes: bool = False
    ) -> None:
        """Refuse a request, with a pause after many refusals; those without the key do not count."""
        if isinstance(refusal, Stranger):
            self._strangers = so_far = self._strangers + 1
        else:
            self._note(refused=self.count.refused + 1, words=self.count.words or str(refusal))
            so_far = self.count.refused
        if so_far > counting.PATIENT:
            await asyncio.sleep(counting.FIRST_WAIT_S)
        await client.say(403, error_body(wire, 403, str(refusal), refusal.limit), closes=closes)

    async def _read(self, client: AgentClient, head: Head, target: RequestTarget) -> ModelRequest:
        """Return the whole request, checked. Raises NotAllowed, TooLarge and BadMessage."""
        try:
            body = await client.body(head, find_body_limit(target))
            check_values(body)
            return self._check_body(head, target, body)
        except RecursionError as exc:
            raise NotAllowed("the body is nested too deeply") from exc
        except MemoryError:
            raise TooLarge("the request needs more memory than the model gateway has") from None

    def _check_body(self, head: Head, target: RequestTarget, body: bytes) -> ModelRequest:
        route = target.route
        model, parsed = parse_model_body(route, body)
        if target.method == "POST":  # to count tokens, the vendor fetches addresses, too
            check_model(model, self._spec.models)
            filtered = filtered_by(self._spec, route.wire, parsed)
            parsed, body = filtered, body if filtered is parsed else json.dumps(filtered).encode()
        terms = terms_of(parsed)
        expected = counting.Expected(
            counting.estimate_most(route.wire, len(body), parsed), self._prices.charge(terms, model).price
        )
        return ModelRequest(target, head, with_usage(route.wire, body, parsed), model, expected, terms)

    async def _answer(self, client: AgentClient, request: ModelRequest) -> None:
        if not request.route.counted:
            answer = await self._ask(request)
            if answer.status >= 300:
                await self._pass_failure(client, request.route.wire, answer)
                return
            return await self._pass_on(client, answer, None)
        try:
            async with self._allowance.call(request.expected):
                await self._call_allowed(client, request)
        except counting.LimitReached as end:
            await self._wrap_up_call(client, request, end)
        except counting.NotAnswered as silent:  # as at a rate limit, so the run keeps its session and waits
            self._failed_to(_read_clock(), BUSY, str(silent), int(ANSWER_S))
            words = error_body(request.route.wire, BUSY, str(silent))
            await client.say(BUSY, words, retry_s=int(ANSWER_S))

    async def ask_coordinator(self, usd: Decimal) -> counting.Grant:
        """Ask for a larger reservation: the node agent reads the request in the count and writes a grant."""
        number = self.count.asked + 1
        self._note(asked=number, asked_usd=format(usd, "f"), waiting=self.count.waiting + 1)
        try:
            for _ in range(int(ANSWER_S / LOOK_S)):
                grant = read_grant(Path(self._spec.folder))
                if grant is not None and grant.number >= number:
                    return grant
                await asyncio.sleep(LOOK_S)
        finally:
            self._note(waiting=self.count.waiting - 1)
        raise counting.NotAnswered(
            "this run has used what is reserved for it, and the coordinator has not answered in "
            f"{ANSWER_S:.0f} s whether it may spend more"
        )

    async def _wrap_up_call(
        self, client: AgentClient, request: ModelRequest, end: counting.LimitReached
    ) -> None:
        """At a limit, allow one last call if the run may have it; record this before sending anything."""
        is_last = self._spec.wrap_up and not self.count.wrap_up and end.limit != counting.CEILING
        if not self.count.limit:
            self._note(limit=end.limit, words=end.words)
        if not is_last:
            refusal = NotAllowed(end.words)
            refusal.limit = end.limit
            raise refusal from end
        self._note(wrap_up=1)
        wire = request.route.wire
        changed = as_last(wire, json.loads(request.body), self._spec.public)
        body = json.dumps(changed).encode()
        tokens = counting.estimate_most(wire, len(body), changed)
        last_of = replace(request, body=body, expected=replace(request.expected, tokens=tokens))
        await self._call_allowed(client, last_of)

    async def _call_allowed(self, client: AgentClient, request: ModelRequest) -> None:
        self.count = replace(self.count, requests=self.count.requests + 1)
        cut = self._last if self._storm.is_cut(_read_clock()) else None
        if wait := self._storm.wait():
            await asyncio.sleep(wait)
        if cut is not None:
            return await client.say(cut.status, cut.body, cut.kind)
        if self._slots is None:
            return await self._count_call(client, request)
        try:
            async with self._slots.one(self._note_wait):
                await self._count_call(client, request)
        except Full as full:
            self._note(failed=self.count.failed + 1)
            await client.say(503, error_body(request.route.wire, 503, str(full)))

    def _note_wait(self, seconds: float) -> None:
        self._note(waited_ms=self.count.waited_ms + int(seconds * 1000))

    async def _count_call(self, client: AgentClient, request: ModelRequest) -> None:
        """Make a call that costs tokens, and count it even if it fails. The agent may disconnect."""
        with self._track_waiting() as heard:
            await self._ask_server(client, request, heard)

    @contextlib.contextmanager
    def _track_waiting(self) -> Iterator[Callable[[], None]]:
        """Count a call as waiting; call the yielded function when its answer begins."""
        began: list[bool] = []

        def heard() -> None:
            if not began:
                began.append(True)
                self._note(waiting=self.count.waiting - 1)

        self._note(waiting=self.count.waiting + 1)
        try:
            yield heard
        finally:
            heard()

    async def _ask_server(
        self, client: AgentClient, request: ModelRequest, heard: Callable[[], None]
    ) -> None:
        at = _read_clock()
        answer = await self._answer_of(request, at)
        left, counts_s = rate_left(answer.status, answer.head)
        self.count = replace(self.count, left=left, left_until_s=int(_read_clock()) + counts_s)
        if answer.status >= 300:
            self._failed_to(at, answer.status, f"HTTP {answer.status}", parse_retry_after(answer.head))
            self._last = await self._pass_failure(client, request.route.wire, answer)
            return
        try:
            readable = await self._meter_answer(client, request, answer, heard)
        except BrokenAnswer as broken:
            self._failed_to(at, answer.status, str(broken))
            raise
        if not readable:
            return self._failed_to(at, answer.status, "its answers cannot be read")
        self._storm = counting.Storm()
        if self.count.failing:
            self._note(failing=0, failing_s=0, status=0, trouble="", retry_s=0)

    def _failed_to(self, at: float, status: int, words: str, retry_s: int = 0) -> None:
        """Record a call to which the server gave no usable answer."""
        self._storm = self._storm.after(False, at, _read_clock())
        self._note(
            failed=self.count.failed + 1,
            failing=self._storm.tries,
            failing_s=self._storm.lasted,
            status=status,
            retry_s=retry_s,
            trouble=words[:500],
        )

    async def _answer_of(self, request: ModelRequest, at: float) -> UpstreamResponse:
        """Return the server's answer, or raise after recording that there was none."""
        try:
            return await self._ask(request)
        except DialError as failed:
            self._last = UpstreamError(
                502, "", error_body(request.route.wire, 502, f"the model server: {failed}")
            )
            if failed.sent:
                self.count = self.count.unanswered(request.expected)
            self._failed_to(at, 0, str(failed))
            raise
        except asyncio.CancelledError:
            self.count = self.count.unanswered(request.expected)
            self._saved(self.count)
            raise

    async def _meter_answer(
        self, client: AgentClient, request: ModelRequest, answer: UpstreamResponse, heard: Callable[[], None]
    ) -> bool:
        """Forward the answer and count its usage; return whether the answer could be read."""
        meter = _Tally(meter_of(request.route.wire, answer.head.get("content-type")), heard)
        due = [meter]
        try:
            await self._pass_on(client, answer, meter, lambda: self._book(request, due))
        finally:
            self._book(request, due)
        # the server compresses although this was not requested
        packed = answer.head.get("content-encoding") not in ("", "identity")
        return meter.meter.heard or packed

    async def _pass_failure(self, client: AgentClient, wire: Wire, answer: UpstreamResponse) -> UpstreamError:
        """Forward an error answer without our key, which some servers quote."""
        try:
            body = await _read_whole(answer)
        finally:
            answer.close()
        redactor = Redactor(self._secrets)
        if body is None:
            words = f"the model server's error is compressed, or too large: more than {MOST_ERROR >> 20} MB"
            body = error_body(wire, answer.status, words)
        else:
            body = redactor.feed(body) + redactor.close()
        kept = [(name, value) for name, value in answer.head.headers if name != "content-encoding"]
        answer.head, answer.framing = Head(answer.head.start, kept), len(body)
        out = await client.begin(answer)
        await out.send(body)
        await out.end()
        return UpstreamError(answer.status, answer.head.get("content-type"), body[:KEPT_ERROR])

    def _book(self, request: ModelRequest, due: list[_Tally]) -> None:
        """Add the answer's usage to the count, once for each answer."""
        while due:
            tally = due.pop()
            tally.meter.close()
            reading = tally.meter.reading
            model = reading.model or request.model
            used = counting.count_usage(reading, request.expected.tokens, tally.passed)
            charge = self._prices.charge({**request.terms, **dict(reading.terms)}, model, request.model)
            self.count = self.count.charged(reading, charge, model, used)
            self._saved(self.count)

    def _note(self, **changes: Any) -> None:
        self.count = replace(self.count, **changes)
        self._saved(self.count)

    async def _ask(self, request: ModelRequest) -> UpstreamResponse:
        kept = [(name, value) for name, value in request.head.headers if name not in AUTH | HOP]
        spec = self._spec
        if spec.key:
            value = f"Bearer {spec.key}" if spec.header == "authorization" else spec.key
            kept.append((spec.header, value))
        kept.append(("accept-encoding", "identity"))
        target = self._upstream.server.path(request.target.path, request.target.query)
        answer = await self._upstream.ask(request.target.method, target, kept, request.body)
        answer.head = self._hide_key(answer.head)
        return answer

    def _hide_key(self, head: Head) -> Head:
        """Return the head without our key; omit headers whose name contains the key."""
        key = self._spec.key.lower()
        headers = [
            (name, redact_text(value, self._secrets))
            for name, value in head.headers
            if len(key) < SHORTEST or key not in name
        ]
        return Head(redact_text(head.start, self._secrets), headers)

    async def _pass_on(
        self,
        client: AgentClient,
        answer: UpstreamResponse,
        meter: Any,
        last: Callable[[], None] = lambda: None,
    ) -> None:
        """Forward pieces as they arrive. `last` is called before the end of the last piece is forwarded."""
        try:
            out = await client.begin(answer)
            async for piece in _read_pieces(answer):
                if meter is not None:
                    meter.feed(piece)
                await out.send(piece)
            last()
            await out.end()
        finally:
            answer.close()


async def _read_pieces(answer: UpstreamResponse) -> AsyncIterator[bytes]:
    """Yield the pieces. BrokenAnswer if the server breaks off; then the agent's connection is also closed."""
    try:
        async for piece in answer.pieces():
            yield piece
    except (BadMessage, OSError) as exc:
        raise BrokenAnswer("the answer broke off") from exc


class _Tally:
    """A meter, and the number of bytes that it has read. `heard` is called with each readable piece."""

    def __init__(self, meter: Meter, heard: Callable[[], None]) -> None:
        self.meter, self.passed, self._heard = meter, 0, heard

    def feed(self, piece: bytes) -> None:
        self._heard()
        self.passed += len(piece)
        self.meter.feed(piece)


async def _read_whole(answer: UpstreamResponse) -> bytes | None:
    """Return the whole body, unpacked; None if it is too large or cannot be unpacked. BrokenAnswer."""
    data = bytearray()
    async for piece in _read_pieces(answer):
        data += piece
        if len(data) > MOST_ERROR:
            return None
    coding = answer.head.joined("content-encoding")
    if coding in ("", "identity"):
        return bytes(data)
    if coding in ("gzip", "x-gzip", "deflate"):  # the server compresses although this was not requested
        with contextlib.suppress(zlib.error):
            unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
            body = unpacker.decompress(data, MOST_ERROR)
            return body if unpacker.eof and not unpacker.unused_data else None
    return None


def _read_clock() -> float:
    return asyncio.get_running_loop().time()
