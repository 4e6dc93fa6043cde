"""A model server that is there, as the node's table would tell it, and tests of its models."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

from node_agent.passport.exam import Exam, ExamTools, HttpChat, Patience
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.endpoint import (
    AskState,
    CheckFact,
    Dialect,
    EndpointFact,
    ExamCheck,
    ModelFact,
    PassportFact,
    Residence,
)
from tests.tinyllama import call

CLOCK = SystemClock()


@dataclass
class There:
    """One server. `after`: what another look at it finds."""

    fact: EndpointFact
    url: str
    key: str = ""
    ca: str | None = None
    after: Callable[[EndpointFact], EndpointFact] = lambda fact: fact
    looks: int = 0

    def server(self, name: str) -> There | None:
        return self if name == self.fact.name else None

    def look(self) -> None:
        self.looks += 1
        self.fact = self.after(self.fact)


def there(dialect: Dialect, url: str, model: ModelFact, **more: object) -> There:
    at = url.removeprefix("http://")
    return There(EndpointFact(name="box", dialect=dialect, at=at, models=(model,)), url, **more)  # type: ignore[arg-type]


def tiny_model(url: str, key: str | None = None) -> ModelFact:
    """As its own numbers say."""
    _, body = call(f"{url}/props", key)
    props = json.loads(body)
    return ModelFact(
        id=props["model_alias"],
        ctx_usable=props["default_generation_settings"]["n_ctx"],
        residence=Residence.LOADED,
        tools=props["chat_template_caps"]["supports_tools"],
    )


@dataclass
class InteractiveRun:
    """One test, and what was said meanwhile."""

    servers: There
    patience: Patience = field(default_factory=Patience)
    said: list[tuple[AskState, str]] = field(default_factory=list)

    def take(self) -> PassportFact:
        tools = ExamTools(
            self.servers,
            lambda server: HttpChat(server, CLOCK),
            CLOCK,
            SystemIds(),
            lambda ms: time.sleep(ms / 1000),
            lambda server, model: nullcontext(True),
            self.patience,
        )
        model = self.servers.fact.models[0].id
        exam = Exam(tools, "box", model, lambda state, words: self.said.append((state, words)))
        return exam.take()[2]


def check(fact: PassportFact, what: ExamCheck) -> CheckFact:
    found = fact.of(what)
    assert found is not None
    return found
