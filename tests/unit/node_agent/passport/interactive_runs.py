"""A model server in memory that says what a test has it say, on a clock that only the test moves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from node_agent.chat.messages import Call
from node_agent.passport.exam import ExamServer, ExamTools, Patience, ServerUnreachable
from node_agent.passport.questions import Reply
from node_agent.wire.control import Examine
from node_agent.wire.endpoint import Dialect, EndpointFact, ModelFact, Residence
from node_agent.wire.model import FleetTime
from tests.fakes.node import MemoryClock, SeededIds

MODEL = ModelFact(id="m", ctx_usable=32_768, residence=Residence.LOADED, tools=True, digest="d1")
FACT = EndpointFact(name="box", dialect=Dialect.OLLAMA, at="127.0.0.1:1", version="1", models=(MODEL,))
GOOD: dict[str, Reply] = {
    "answer": Reply(tokens=1, first_ms=10),
    "context": Reply(prompt_tokens=6_900, tokens=2),
    "tool": Reply(calls=(Call("c", "ping", '{"x": "ok"}'),), finish="tool_calls", tokens=20),
}


@dataclass
class Box:
    """`replies`: by question; `costs`: milliseconds that each takes. `find`: what the n-th look finds."""

    clock: MemoryClock = field(default_factory=MemoryClock)
    fact: EndpointFact | None = FACT
    replies: dict[str, Reply] = field(default_factory=lambda: dict(GOOD))
    costs: dict[str, int] = field(default_factory=dict)
    find: Callable[[int, EndpointFact | None], EndpointFact | None] = lambda look, fact: fact
    reachable: bool = True
    patience_of: Patience = Patience()
    taken_until: int = 0
    """Runs of the node have every slot until then."""
    looks: int = 0
    asked: list[str] = field(default_factory=list)
    patience: list[int] = field(default_factory=list)
    url: str = "http://127.0.0.1:1"
    key: str = ""
    ca: str | None = None

    def server(self, name: str) -> Any:
        return self if self.fact is not None and self.fact.name == name else None

    def look(self) -> None:
        self.looks += 1
        self.fact = self.find(self.looks, self.fact)

    def ask(self, body: Mapping[str, Any], ms: int) -> Reply:
        if not self.reachable:
            raise ServerUnreachable("127.0.0.1:1 cannot be reached: refused")
        text = body["messages"][0]["content"]
        what = next(name for name in GOOD if f"[[passport-{name}]]" in text)
        self.asked.append(what)
        self.patience.append(ms)
        cost = self.costs.get(what, 10)
        self.clock.advance(min(cost, ms))
        return replace(self.replies[what], late=True) if cost > ms else self.replies[what]

    @contextlib.contextmanager
    def turn(self, server: ExamServer, model: ModelFact) -> Iterator[bool]:
        yield self.clock.mono_ms() >= self.taken_until

    def tools(self) -> ExamTools:
        def chat(server: ExamServer) -> Box:
            return self

        return ExamTools(self, chat, self.clock, SeededIds(), self.clock.advance, self.turn, self.patience_of)


def with_model(**changes: object) -> EndpointFact:
    return FACT.model_copy(update={"models": (MODEL.model_copy(update=changes),)})


def asking(ask: str = "a" * 8, model: str = "m", endpoint: str = "box", again: bool = False) -> Examine:
    start_by = FleetTime(epoch=1, ms=1)
    return Examine(ask=ask, endpoint=endpoint, model=model, again=again, start_by=start_by)
