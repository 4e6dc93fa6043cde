"""`fleet up` offers the programs that agents ask for and no node has."""

from __future__ import annotations

from typing import Any

from pancode.fleet.commands.fleet import missing_programs
from tests.fakes.answers import machine, runtime


def agent(name: str, runtime: str | None, enabled: bool = True) -> dict[str, Any]:
    return {"name": name, "runtime": runtime, "enabled": enabled}


def node(name: str, state: str = "online", **states: str) -> Any:
    return machine(name, state=state, runtimes=[runtime(*one) for one in states.items()])


def test_only_what_no_machine_has_and_an_agent_asks_for_is_offered() -> None:
    agents = [
        agent("builder", "claude"),
        agent("second", "claude"),
        agent("reviewer", "codex"),
        agent("any", None),
    ]
    agents.append(agent("off", "gemini", enabled=False))
    nodes = [
        node("away", "unreachable", claude="ok"),
        node("a", claude="missing", codex="missing", gemini="missing"),
    ]
    nodes.append(node("b", claude="missing", codex="login", gemini="missing"))
    assert list(missing_programs(agents, nodes)) == [("a", "claude", ["builder", "second"])]
    assert list(missing_programs(agents, nodes[:1])) == [], "nobody knows what a machine has that is away"
