"""Finds agent definitions that contradict themselves, or name things that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pancode.agents.agents import TOOLS, WRITE_TOOLS, Agent
from pancode.agents.runtimes import RUNTIMES
from pancode.core.names import not_found

SAMPLES = "native"
"""The one runtime whose model calls we make ourselves: only there can we say how words are chosen."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """The problem of one field. `beside`: the other fields that make it wrong."""

    field: str
    what: str
    why: str = ""
    fix: str = ""
    beside: tuple[str, ...] = ()


def flaws(agent: Agent) -> Iterator[Flaw]:
    """Everything that is wrong with a definition."""
    yield from _tools(agent)
    if agent.runtime is not None and agent.runtime not in RUNTIMES:
        missing = not_found("runtime", agent.runtime, RUNTIMES, "pancode runtimes")
        yield Flaw("runtime", str(missing), missing.why, missing.fix)
    elif agent.sampling is not None and agent.runtime not in (None, SAMPLES):
        yield Flaw("sampling", *no_sampling(agent, agent.runtime or ""), beside=("runtime",))


def no_sampling(agent: Agent, runtime: str) -> tuple[str, str, str]:
    """(what, why, fix) for an agent that says how words are chosen, and a runtime that lets nobody say it."""
    return (
        f"agent {agent.name} sets sampling, and the runtime {runtime} takes none",
        f"{runtime} makes its model calls itself and has no flag for it; only the runtime {SAMPLES} takes it",
        f"take sampling out of {agent.name}, or give it runtime: {SAMPLES}",
    )


def _tools(agent: Agent) -> Iterator[Flaw]:
    for tool in agent.tools:
        if tool not in TOOLS:
            missing = not_found("tool", tool, TOOLS, f"tools are {', '.join(TOOLS)}")
            yield Flaw("tools", str(missing), missing.why, missing.fix)
    writing = [tool for tool in agent.tools if tool in WRITE_TOOLS]
    if agent.read_only and writing:
        yield Flaw(
            "tools",
            f"agent {agent.name} is read-only and has the tool {writing[0]}",
            "a tool that can change files would make read-only untrue",
            f"take {', '.join(writing)} out of its tools, or set readonly: false",
            beside=("readonly",),
        )
