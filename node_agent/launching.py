"""Fits the runtimes to the job's port: an order and the node's facts in, a launch and a reader out."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent import ports
from node_agent.doors import Door
from node_agent.ports import ProcessEnd, Spent, StepFailed, Told
from node_agent.process import AGENT_ONLY
from node_agent.redact import is_secret_name, redacted
from node_agent.runtimes.base import EndedBy, ExitInfo, Parser, Place, Runtime, ToolCall, clip
from node_agent.runtimes.orders import enforced, findings, request_of, with_guide
from node_agent.runtimes.registry import RUNTIMES, find
from node_agent.runtimes.vendors import way_of
from node_agent.wire.failure import FailureKind
from node_agent.wire.order import Order
from node_agent.wire.policy import Isolation

NAME_CHARS = 200
"""Of what a program calls its session or model."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command line depends on. `values`: the node's variables and secrets by name, as now."""

    path: str
    python: str
    values: Callable[[], Mapping[str, str]]
    version: Callable[[str], str | None] = lambda name: None
    """Of a runtime, as found on this node."""
    isolation: Isolation = Isolation.NONE
    owned: Callable[[], Collection[str]] = frozenset
    """Names in the owner's file of secrets: no value of theirs leaves the node."""
    why_missing: Callable[[str], str] = lambda name: ""
    node: str = "this node"


class OutputReader:
    """A runtime's parser as the job's Reader. `hidden`: values that no text of an agent may carry on."""

    def __init__(self, parser: Parser, hidden: Mapping[str, str]) -> None:
        self._parser, self._hidden = parser, hidden
        self._tools: dict[str, int] = {}

    def feed(self, chunk: bytes) -> None:
        for activity in self._parser.feed(chunk):
            if isinstance(activity, ToolCall):
                self._tools[activity.action.value] = self._tools.get(activity.action.value, 0) + 1

    def spent(self) -> Spent:
        return Spent(self._parser.usage, dict(self._tools))

    def finish(self, end: ProcessEnd) -> Told:
        told = self._parser.finish(ExitInfo(end.exit_code, end.signal, EndedBy(end.ended_by)))
        tools = {action.value: count for action, count in told.tool_calls.items()}
        return Told(
            failure=told.failure,
            reason=self._clean(told.reason),
            answer=self._clean(told.answer),
            session=_name(None if told.session is None else self._clean(told.session)),
            model=_name(None if told.model is None else self._clean(told.model)),
            spent=Spent(told.usage, tools or self._tools),
            findings=tuple(map(self._clean, findings(told))),
        )

    def _clean(self, text: str) -> str:
        return redacted(text, self._hidden)


class NodeRuntimes:
    """The Runtimes port over the registry."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def launch(
        self, order: Order, work: Path, home: Path, guide: str = "", door: Door | None = None
    ) -> ports.Launch:
        runtime, around = _must_find(order.runtime), self._around
        allowed = self._allowed(order)
        logins = self._logins(runtime, allowed, order, door)
        own = {**allowed, **logins}
        place = Place(around.path, around.python, os.geteuid() == 0, around.isolation, own)
        request = request_of(order, str(work), str(home))
        if runtime.capabilities.prompted:
            request = replace(request, prompt=with_guide(request.prompt, guide))
        made = runtime.launch(request, place)
        return ports.Launch(
            argv=made.argv,
            env={**made.env, AGENT_ONLY: " ".join(logins)} if logins else made.env,
            stdin=made.stdin,
            files=made.files,
            enforced=enforced(order, runtime, around.isolation),
            version=around.version(order.runtime),
            prompt=request.prompt,
        )

    def reader(self, order: Order) -> OutputReader:
        return OutputReader(_must_find(order.runtime).parser(request_of(order, "/", "/")), self.hidden(order))

    def hidden(self, order: Order) -> dict[str, str]:
        """What must not leave the node: the owner's values, logins, and what the order names as a secret."""
        values = self._around.values()
        names = {*self._around.owned(), *order.secrets, *filter(is_secret_name, order.env)}
        names.update(*(runtime.credentials for runtime in RUNTIMES.values()))
        return {name: values[name] for name in names if name in values}

    def _allowed(self, order: Order) -> dict[str, str]:
        """The variables that the order allows, as far as there are; a secret that it names must be there."""
        values = self._around.values()
        missing = [name for name in order.secrets if name not in values]
        if missing:
            told = [
                f"{name} ({why})" if (why := self._around.why_missing(name)) else name for name in missing
            ]
            words = f"secrets that are not on {self._around.node}: {', '.join(told)}"
            raise StepFailed(FailureKind.MODEL_AUTH, words)
        return {name: values[name] for name in (*order.env, *order.secrets) if name in values}

    def _logins(
        self, runtime: Runtime, allowed: Mapping[str, str], order: Order, door: Door | None
    ) -> dict[str, str]:
        """What logs this runtime in on this node: for its own process, not for what a repository names.

        Behind a gateway it is the gateway's address and a placeholder, and no key.
        """
        values = self._around.values()
        own = {n: values[n] for n in runtime.credentials if n in values and n not in allowed}
        way = way_of(order.runtime, values, (*order.env, *order.secrets)) if door else None
        if door is None or way is None:
            return own
        kept = {name: value for name, value in own.items() if name not in way.variables}
        return {**kept, **way.inside(door.base, door.token)}


def _name(text: str | None) -> str | None:
    """A name that a program gave: as much of it as a receipt may carry, which has a bound."""
    return None if text is None else clip(text, NAME_CHARS)


def _must_find(name: str) -> Runtime:
    runtime = find(name)
    if runtime is None:
        raise StepFailed(FailureKind.RUNTIME_MISSING, f"this node agent knows no runtime {name!r}")
    return runtime
