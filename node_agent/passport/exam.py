"""One test of one model: its questions in sequence, within a minute; a late answer is abandoned."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from node_agent.chat.client import Server as Address
from node_agent.chat.client import read_events
from node_agent.chat.dialect import Trouble
from node_agent.files.durable import make_folder
from node_agent.gateway.slots import SlotLocks, folder_of
from node_agent.link.trusting import make_tls_context
from node_agent.passport import questions
from node_agent.passport.questions import Reply, Timed
from node_agent.wire.clock import Clock, Ids
from node_agent.wire.endpoint import (
    AskState,
    CheckFact,
    Dialect,
    EndpointFact,
    ExamCheck,
    Grade,
    Health,
    ModelFact,
    PassportFact,
    Residence,
)

BUSY = frozenset({408, 429, 500, 502, 503, 504})
LOCKED = frozenset({401, 403})
CONNECT_S = 2.0
MOST_BYTES = 8 << 20


class ExamServer(Protocol):
    """One endpoint. `url`: without `/v1`; `key`: empty if there is none; `ca`: a file. The key stays on this
    node."""

    @property
    def fact(self) -> EndpointFact: ...
    @property
    def url(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def ca(self) -> str | None: ...


class Servers(Protocol):
    """The node's own table of endpoints. Thread-safe; raises nothing."""

    def server(self, name: str) -> ExamServer | None:
        """Return the endpoint as last checked; None if no endpoint has that name now."""

    def look(self) -> None:
        """Check the endpoints again; return when done. Wakes no server and loads no model."""


class ServerUnreachable(Exception):
    """The error when no server accepts the connection; the message has the reason."""


class Chat(Protocol):
    """Queries one server with streaming, and disconnects at the time limit. Raises ServerUnreachable."""

    def ask(self, body: Mapping[str, Any], ms: int) -> Reply:
        """Return the reply within that time; if it has not ended by then, it is marked `late`."""


class HttpChat:
    """Opens a connection for each question; closing the connection frees the server's slot."""

    def __init__(self, server: ExamServer, clock: Clock) -> None:
        self._server, self._clock = server, clock

    def ask(self, body: Mapping[str, Any], ms: int) -> Reply:
        timed = Timed()
        try:
            asyncio.run(self._ask_model(body, ms, timed))
            return timed.reply()
        except TimeoutError:
            return timed.reply(late=True)
        except Trouble as trouble:
            if not trouble.reached:
                raise ServerUnreachable(f"{urlsplit(self._server.url).netloc} {trouble}") from trouble
            return timed.reply(trouble=trouble)
        except OSError as exc:
            raise ServerUnreachable(f"{self._server.ca} is not a CA file: {exc}") from exc

    async def _ask_model(self, body: Mapping[str, Any], ms: int, timed: Timed) -> None:
        began, server = self._clock.mono_ms(), self._server
        tls = make_tls_context(server.ca) if server.url.startswith("https:") else None
        address = Address(f"{server.url.rstrip('/')}/v1", server.key, tls, CONNECT_S)
        async with asyncio.timeout(ms / 1000), aclosing(read_events(address, body, MOST_BYTES)) as coming:
            async for event in coming:
                timed.take(event, self._clock.mono_ms() - began)


@contextlib.contextmanager
def free_slot(folder: Path, server: ExamServer, model: ModelFact) -> Iterator[bool]:
    """Yield whether a slot of the endpoint was free; occupy it until the end. A server without slot data
    counts as having one slot. `folder`: where the model gateways of runs lock a file for each slot."""
    slots, shared = server.fact.slots or model.slots or 0, folder_of(folder, server.fact.name)
    if slots:
        make_folder(folder)
        make_folder(shared)
    with SlotLocks(str(shared), slots).at_once() as is_ours:
        yield is_ours or not slots


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits in milliseconds. `load`: for the first token of a model that must load; `whole`: for all
    the rest."""

    answer: int = 15_000
    load: int = 300_000
    context: int = 30_000
    whole: int = 40_000
    free: int = 120_000
    look: int = 3_000
    """The interval between checks for a free slot."""


class NotNow(Exception):
    """The error when the model cannot be tested now, for a reason outside of the model. `fix`: the remedy."""

    def __init__(self, words: str, fix: str = "") -> None:
        super().__init__(words)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class ExamTools:
    """The functions that a test needs. `turn`: occupies a slot of the endpoint if one is free; `pause`:
    sleeps, in milliseconds."""

    servers: Servers
    chat: Callable[[ExamServer], Chat]
    clock: Clock
    ids: Ids
    pause: Callable[[int], None]
    turn: Callable[[ExamServer, ModelFact], AbstractContextManager[bool]]
    patience: Patience = Patience()


@dataclass(slots=True)
class Exam:
    """One test of one model."""

    tools: ExamTools
    endpoint: str
    model: str
    notify: Callable[[AskState, str], None]
    ctx: int | None = None
    until: int = 0
    """The deadline of the test, set when the model first answers."""

    def take(self) -> tuple[EndpointFact, ModelFact, PassportFact]:
        """Test the model; return its endpoint, its facts during the test, and the passport. Raises NotNow."""
        clock, began = self.tools.clock, self.tools.clock.mono_ms()
        with self._hold_slot() as (server, model):
            checks = [self._check_answer(server, model)]
            if checks[0].grade is Grade.PASSED:
                self.tools.servers.look()  # loading changes a model's reported numbers
                server, model = self._find_model()
                self.until = clock.mono_ms() + self.tools.patience.whole
                checks.append(self._check_context(server, model))
                checks.append(self._check_calls(server, model))
        fact = PassportFact(
            taken_ms=clock.wall_ms(), took_ms=clock.mono_ms() - began, checks=tuple(checks), ctx=self.ctx
        )
        return server.fact, model, fact

    # -- before the first question

    def _find_model(self) -> tuple[ExamServer, ModelFact]:
        server = self.tools.servers.server(self.endpoint)
        if server is None:
            raise NotNow(f"endpoint {self.endpoint} not found on this node", "pancode models ls --servers")
        model = server.fact.model(self.model)
        if model is None:
            raise NotNow(f"endpoint {self.endpoint} does not have model {self.model} now", "pancode models")
        if model.embedding:
            raise NotNow(f"{self.model} is an embedding model and generates no text", "pancode models")
        return server, model

    @contextlib.contextmanager
    def _hold_slot(self) -> Iterator[tuple[ExamServer, ModelFact]]:
        """Wait for a free slot if the server reports slots, because a full server would not answer a
        request."""
        clock, patience = self.tools.clock, self.tools.patience
        until = clock.mono_ms() + patience.free
        while True:
            server, model = self._find_model()
            if server.fact.health is not Health.OK:
                raise NotNow(server.fact.words or f"it {server.fact.health}", server.fact.fix)
            with self.tools.turn(server, model) as is_ours:
                if is_ours and server.fact.slots_free != 0:
                    yield server, model
                    return
            if clock.mono_ms() >= until:
                waited = f"no slot of {self.endpoint} became free within {patience.free // 1000} s"
                raise NotNow(waited, "try again when the current requests to the endpoint are done")
            self.notify(AskState.WAITING, f"all slots of {self.endpoint} are busy")
            self.tools.pause(patience.look)
            self.tools.servers.look()

    # -- the questions

    def _check_answer(self, server: ExamServer, model: ModelFact) -> CheckFact:
        is_loaded = model.residence in (Residence.LOADED, None)
        self.notify(
            AskState.TESTING,
            "does it answer?" if is_loaded else "the model is loading, which may take minutes",
        )
        patience = self.tools.patience
        ms = patience.answer if model.residence is Residence.LOADED else patience.load
        reply = self._ask(server, questions.ask_token(model.id), ms)
        if reply.status in LOCKED:
            key = f"put the key of {server.fact.name} into secrets.json and name it in endpoints.json"
            raise NotNow(f"the server requires a key: {reply.error}", server.fact.fix or key)
        if reply.status == 404:
            raise NotNow(f"the server does not know the model: {reply.error}", "pancode models")
        if reply.status in BUSY:
            raise NotNow(f"the server cannot answer now: {reply.status} {reply.error}", "try again later")
        return questions.check_answer(server.fact, reply, ms // 1000)

    def _check_context(self, server: ExamServer, model: ModelFact) -> CheckFact:
        """Check the context, first by the numbers: if the server states a context that is too small, it is
        not tested further."""
        self.notify(AskState.TESTING, "how long a prompt can it read?")
        self.ctx = model.ctx_usable
        stated = questions.stated_context(server.fact, model, self.ctx)
        ms = min(self.tools.patience.context, self._compute_left_ms())
        if stated is not None:
            return stated
        if ms <= 0:
            return questions.make_unknown(ExamCheck.CONTEXT, questions.NO_TIME)
        secret, words = None, questions.NEEDLE_WORDS
        if server.fact.dialect is Dialect.LLAMACPP and self.ctx is not None:
            # if the prompt exceeds the stated context, the only cost is counting its tokens
            words = self.ctx
            reply = self._ask(server, questions.too_long(model.id, words), ms)
            exact = questions.refused_context(server.fact, model, reply)
            if exact is not None:
                self.ctx = reply.ctx
                return exact
        else:
            secret = str(int(self.tools.ids.token(3), 16) % 900_000 + 100_000)
            reply = self._ask(server, questions.ask_needle(model.id, secret), ms)
        read = questions.read_context(server.fact, model, reply, words, secret)
        if read.grade is Grade.FAILED:
            self.ctx = reply.prompt_tokens
        return read

    def _check_calls(self, server: ExamServer, model: ModelFact) -> CheckFact:
        """Ask for a tool call until one is correct, within the limits of tries and time."""
        self.notify(AskState.TESTING, "does it call tools?")
        stated = questions.stated_no_tools(server.fact, model)
        if stated is not None:
            return stated
        replies: list[Reply] = []
        while len(replies) < questions.TRIES and self._compute_left_ms() > 0:
            body = questions.ask_call(model.id, len(replies))
            replies.append(self._ask(server, body, self._compute_left_ms()))
            if questions.is_call_correct(replies[-1]) or replies[-1].status in (400, 404, 422):
                break
        return questions.check_calls(server.fact, model, replies)

    def _compute_left_ms(self) -> int:
        return self.until - self.tools.clock.mono_ms()

    def _ask(self, server: ExamServer, body: questions.Body, ms: int) -> Reply:
        try:
            return self.tools.chat(server).ask(body, ms)
        except ServerUnreachable as exc:
            raise NotNow(str(exc), f"start the server at {server.fact.at}") from exc
