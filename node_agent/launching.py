"""Fits the runtimes to the job's port: an order and the node's facts in, a launch and a reader out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent import ports
from node_agent.ports import ProcessEnd, Spent, StepFailed, Told
from node_agent.process import AGENT_ONLY
from node_agent.runtimes.base import EndedBy, ExitInfo, Parser, Place, Runtime, ToolCall, clip
from node_agent.runtimes.orders import enforced, findings, request_of, with_guide
from node_agent.runtimes.registry import find
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


class OutputReader:
    """A runtime's parser as the job's Reader."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
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
            reason=told.reason,
            answer=told.answer,
            session=_name(told.session),
            model=_name(told.model),
            spent=Spent(told.usage, tools or self._tools),
            findings=findings(told),
        )


class NodeRuntimes:
    """The Runtimes port over the registry."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def launch(self, order: Order, work: Path, home: Path, guide: str = "") -> ports.Launch:
        runtime, around = _must_find(order.runtime), self._around
        allowed = self._allowed(order)
        logins = self._logins(runtime, allowed)
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
        return OutputReader(_must_find(order.runtime).parser(request_of(order, "/", "/")))

    def _allowed(self, order: Order) -> dict[str, str]:
        """The variables that the order allows, as far as there are; a secret that it names must be there."""
        values = self._around.values()
        missing = [name for name in order.secrets if name not in values]
        if missing:
            words = f"secrets that are not on this node: {', '.join(missing)}"
            raise StepFailed(FailureKind.MODEL_AUTH, words)
        return {name: values[name] for name in (*order.env, *order.secrets) if name in values}

    def _logins(self, runtime: Runtime, allowed: Mapping[str, str]) -> dict[str, str]:
        """What logs this runtime in on this node: for its own process, not for what a repository names."""
        values = self._around.values()
        return {n: values[n] for n in runtime.credentials if n in values and n not in allowed}


def _name(text: str | None) -> str | None:
    """A name that a program gave: as much of it as a receipt may carry, which has a bound."""
    return None if text is None else clip(text, NAME_CHARS)


def _must_find(name: str) -> Runtime:
    runtime = find(name)
    if runtime is None:
        raise StepFailed(FailureKind.RUNTIME_MISSING, f"this node agent knows no runtime {name!r}")
    return runtime
