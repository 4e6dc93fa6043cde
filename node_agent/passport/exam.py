"""One test of one model, question after question, within one minute."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from node_agent.passport import fixes, judge, questions
from node_agent.passport.replies import Reply
from node_agent.passport.servers import Chat, ExamServer, Servers, ServerUnreachable
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


@dataclass(frozen=True, slots=True)
class Patience:
    """Milliseconds. `load`: for the first token of a model to be loaded; `whole`: for all that follows."""

    answer: int = 15_000
    load: int = 300_000
    context: int = 30_000
    whole: int = 40_000
    free: int = 120_000
    look: int = 3_000
    """The interval of looks for a free slot."""


class NotNow(Exception):
    """It cannot be tested now, which says nothing of the model. `fix`: what helps."""

    def __init__(self, words: str, fix: str = "") -> None:
        super().__init__(words)
        self.fix = fix


Tell = Callable[[AskState, str], None]
Turn = Callable[[ExamServer, ModelFact], AbstractContextManager[bool]]


@dataclass(frozen=True, slots=True)
class ExamTools:
    """The tools of a test. `turn`: a slot of the endpoint, if there is one; `pause`: in milliseconds."""

    servers: Servers
    chat: Callable[[ExamServer], Chat]
    clock: Clock
    ids: Ids
    pause: Callable[[int], None]
    turn: Turn
    patience: Patience = Patience()


@dataclass(slots=True)
class Exam:
    """One exam of one model."""

    tools: ExamTools
    endpoint: str
    model: str
    tell: Tell
    replies: list[Reply] = field(default_factory=list)
    ctx: int | None = None
    began: int = 0
    until: int = 0
    """The deadline of the test, set at the model's first answer."""

    def take(self) -> tuple[EndpointFact, ModelFact, PassportFact]:
        """The passport, and the model as it was then. Raises NotNow."""
        self.began = self.tools.clock.mono_ms()
        with self._slot() as (server, model):
            return self._examined(server, model)

    def _examined(self, server: ExamServer, model: ModelFact) -> tuple[EndpointFact, ModelFact, PassportFact]:
        self.tell(AskState.TESTING, self._loading(model))
        checks = [self._answers(server, model)]
        if checks[0].grade is Grade.PASSED:
            self.tools.servers.look()  # a model that was loaded just now has other numbers
            server, model = self._found()
            self.until = self.tools.clock.mono_ms() + self.tools.patience.whole
            checks += [one(server, model) for one in (self._context, self._calls, self._edits)]
        return server.fact, model, self._passport(checks)

    def _passport(self, checks: list[CheckFact]) -> PassportFact:
        speeds = [(one.tokens or 0, one.tok_s) for one in self.replies if one.tok_s is not None]
        return PassportFact(
            taken_ms=self.tools.clock.wall_ms(),
            took_ms=self.tools.clock.mono_ms() - self.began,
            checks=tuple(checks),
            ctx=self.ctx,
            tok_s=max(speeds)[1] if speeds else None,
        )

    # -- before the first question

    def _found(self) -> tuple[ExamServer, ModelFact]:
        server = self.tools.servers.server(self.endpoint)
        if server is None:
            raise NotNow(f"there is no endpoint {self.endpoint} on this node now", "pancode endpoints")
        model = server.fact.model(self.model)
        if model is None:
            raise NotNow(f"endpoint {self.endpoint} has no model {self.model} now", "pancode models")
        if model.embedding:
            raise NotNow(f"{self.model} makes vectors, no words", "pancode models")
        return server, model

    @contextlib.contextmanager
    def _slot(self) -> Iterator[tuple[ExamServer, ModelFact]]:
        """Once a slot is free, as far as it is told: a full server would keep us waiting without a word."""
        clock, patience = self.tools.clock, self.tools.patience
        until = clock.mono_ms() + patience.free
        while True:
            server, model = self._found()
            if server.fact.health is not Health.OK:
                raise NotNow(server.fact.words or f"it {server.fact.health}", server.fact.fix)
            with self.tools.turn(server, model) as is_ours:
                if is_ours and server.fact.slots_free != 0:
                    yield server, model
                    return
            if clock.mono_ms() >= until:
                waited = f"no slot of {self.endpoint} was free for {patience.free // 1000} s"
                raise NotNow(waited, "try again when its work is done")
            self.tell(AskState.WAITING, f"all slots of {self.endpoint} are busy")
            self.tools.pause(patience.look)
            self.tools.servers.look()

    def _loading(self, model: ModelFact) -> str:
        is_there = model.residence in (Residence.LOADED, None)
        return "does it answer?" if is_there else "it is loaded now, which may take minutes"

    # -- the questions

    def _answers(self, server: ExamServer, model: ModelFact) -> CheckFact:
        is_there = model.residence is Residence.LOADED
        ms = self.tools.patience.answer if is_there else self.tools.patience.load
        reply = self._ask(server, questions.answer(model.id), ms)
        if reply.status in LOCKED:
            raise NotNow(f"it wants a key: {reply.error}", fixes.for_key(server.fact))
        if reply.status == 404:
            raise NotNow(f"the server does not know the model: {reply.error}", "pancode models")
        if reply.status in BUSY:
            raise NotNow(f"the server cannot now: {reply.status} {reply.error}", "try again in a while")
        return judge.answers(server.fact, model, reply, ms // 1000)

    def _context(self, server: ExamServer, model: ModelFact) -> CheckFact:
        """Numbers first: a server that says too little is believed."""
        self.tell(AskState.TESTING, "how long a prompt does it read?")
        self.ctx = model.ctx_usable
        stated = judge.stated_context(server.fact, model)
        if stated is not None:
            return stated
        ms = min(self.tools.patience.context, self._left())
        if ms <= 0:
            return judge.unknown(ExamCheck.CONTEXT, "there was no time left")
        if server.fact.dialect is Dialect.LLAMACPP and model.ctx_usable is not None:
            return self._beyond(server, model, model.ctx_usable, ms)
        secret = str(int(self.tools.ids.token(3), 16) % 900_000 + 100_000)
        reply = self._ask(server, questions.needle(model.id, secret), ms)
        return self._ctx_of(
            judge.read_context(server.fact, model, reply, questions.NEEDLE_WORDS, secret), reply
        )

    def _beyond(self, server: ExamServer, model: ModelFact, stated: int, ms: int) -> CheckFact:
        """A prompt beyond its number, which costs no more than counting the prompt's tokens."""
        reply = self._ask(server, questions.too_long(model.id, stated), ms)
        exact = judge.refused_context(server.fact, model, reply)
        if exact is not None:
            self.ctx = reply.ctx
            return exact
        return self._ctx_of(judge.read_context(server.fact, model, reply, stated, None), reply)

    def _ctx_of(self, fact: CheckFact, reply: Reply) -> CheckFact:
        if fact.grade is Grade.FAILED:
            self.ctx = reply.prompt_tokens
        return fact

    def _calls(self, server: ExamServer, model: ModelFact) -> CheckFact:
        self.tell(AskState.TESTING, "does it call tools?")
        if model.tools is False and server.fact.dialect in (Dialect.LLAMACPP, Dialect.OLLAMA):
            words = "its chat template takes no tools, as the server says"
            return judge.failed(ExamCheck.TOOLS, words, fixes.for_tools(server.fact, model))
        replies = self._tries(server, model, ExamCheck.TOOLS)
        if not replies:
            return judge.unknown(ExamCheck.TOOLS, "there was no time left")
        return judge.tools(server.fact, model, replies)

    def _edits(self, server: ExamServer, model: ModelFact) -> CheckFact:
        self.tell(AskState.TESTING, "does it edit files?")
        if model.tools is False and server.fact.dialect in (Dialect.LLAMACPP, Dialect.OLLAMA):
            return judge.unknown(ExamCheck.EDITS, "not asked, as an edit is a tool call")
        replies = self._tries(server, model, ExamCheck.EDITS)
        if not replies:
            return judge.unknown(ExamCheck.EDITS, "there was no time left")
        return judge.edits(server.fact, model, replies)

    def _tries(self, server: ExamServer, model: ModelFact, check: ExamCheck) -> list[Reply]:
        """Tries until one is good, at most as many as are allowed and as time permits."""
        ask = questions.tool if check is ExamCheck.TOOLS else questions.edit
        replies: list[Reply] = []
        while len(replies) < questions.TRIES and self._left() > 0:
            replies.append(self._ask(server, ask(model.id, len(replies)), self._left()))
            if judge.is_good(check, replies[-1]) or replies[-1].status in (400, 404, 422):
                break
        return replies

    def _left(self) -> int:
        return self.until - self.tools.clock.mono_ms()

    def _ask(self, server: ExamServer, body: questions.Body, ms: int) -> Reply:
        try:
            reply = self.tools.chat(server).ask(body, ms)
        except ServerUnreachable as exc:
            raise NotNow(str(exc), f"start the server at {server.fact.at}") from exc
        self.replies.append(reply)
        return reply
