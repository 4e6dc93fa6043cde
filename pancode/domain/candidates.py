"""Which nodes could take a run, and why each of the others could not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.domain.fleet import NodeState, NodeView


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node seen by one request. `fits`: it may take it, now or later; `ready`: it asks for work now."""

    name: str
    fits: bool
    ready: bool
    why: str
    fix: str = ""
    isolation: Isolation | None = None


def candidates(
    nodes: Sequence[NodeView], node: str | None, require: Mapping[str, str], runtime: str
) -> tuple[Candidate, ...]:
    """Every node of the fleet, by name, each with its reason. `node`: the pinned one."""
    return tuple(_judge(view, node, require, runtime) for view in sorted(nodes, key=lambda v: v.node.name))


def _judge(view: NodeView, pin: str | None, require: Mapping[str, str], runtime: str) -> Candidate:
    name = view.node.name
    if pin is not None and pin != name:
        return Candidate(name, False, False, "not the pinned node")
    if view.node.removed is not None:
        return Candidate(name, False, False, view.node.removed, f"pancode node add {name}")
    for key, value in require.items():
        if view.node.labels.get(key) != value:
            return Candidate(name, False, False, f"has no label {key}={value}", "pancode node ls")
    if view.heard is None:
        return Candidate(name, True, False, "was not heard yet", "pancode fleet up " + name)
    isolation = view.heard.heartbeat.facts.isolation
    fact = next((r for r in view.heard.heartbeat.facts.runtimes if r.name == runtime), None)
    if fact is None or fact.state != "ok":
        fix = "pancode runtimes" if fact is None else f"on {name}: {fact.fix}" if fact.fix else ""
        return Candidate(name, False, False, _without(fact, runtime), fix, isolation)
    waits, fix = _not_now(view)
    return Candidate(name, True, not waits, waits or "can take it", fix, isolation)


def _without(fact: RuntimeFact | None, runtime: str) -> str:
    if fact is None or fact.state == "missing":
        return f"has no runtime {runtime}"
    state = {"not_logged_in": "is not logged in", "unknown_version": "has an unknown version"}
    return f"runtime {runtime} {state[fact.state]}"


def _not_now(view: NodeView) -> tuple[str, str]:
    """Why a node that fits takes nothing at the moment, and what would help; empty when it does."""
    name = view.node.name
    if view.node.quarantined is not None:
        return f"is quarantined: {view.node.quarantined}", f"pancode fleet resume {name}"
    if view.node.paused is not None:
        return f"is paused: {view.node.paused}", f"pancode queue resume {name}"
    if view.node.draining is not None:
        return f"is draining: {view.node.draining}", f"pancode fleet resume {name}"
    if view.state is not NodeState.ONLINE:
        return f"is {view.state}", f"pancode fleet up {name}"
    return ("", "") if view.asks else ("has not asked for work yet", "")
