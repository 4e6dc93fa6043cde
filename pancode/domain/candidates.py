"""Which nodes could take a run, and why each of the others could not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node_agent.wire.node import NO_SANDBOX, NodeFacts, Problem, RuntimeFact
from node_agent.wire.policy import Isolation, Safety
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
    no_sandbox: Problem | None = None
    """Why there is none, as the node says it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks of a node. `node`: the pinned one. `repo`: known once the snapshot was taken."""

    node: str | None
    require: Mapping[str, str]
    runtime: str
    safety: Safety
    repo: str | None = None


def candidates(nodes: Sequence[NodeView], wish: Wish) -> tuple[Candidate, ...]:
    """Every node of the fleet, by name, each with its reason."""
    return tuple(_judge(view, wish) for view in sorted(nodes, key=lambda v: v.node.name))


def _judge(view: NodeView, wish: Wish) -> Candidate:
    name, runtime = view.node.name, wish.runtime
    if wish.node is not None and wish.node != name:
        return Candidate(name, False, False, "not the pinned node")
    if view.node.removed is not None:
        return Candidate(name, False, False, view.node.removed, f"pancode node add {name}")
    for key, value in wish.require.items():
        if view.node.labels.get(key) != value:
            return Candidate(name, False, False, f"has no label {key}={value}", "pancode node ls")
    if view.heard is None:
        return Candidate(name, True, False, "was not heard yet", "pancode fleet up " + name)
    isolation = view.heard.heartbeat.facts.isolation
    fact = next((r for r in view.heard.heartbeat.facts.runtimes if r.name == runtime), None)
    if fact is None or fact.state != "ok":
        fix = "pancode runtimes" if fact is None else f"on {name}: {fact.fix}" if fact.fix else ""
        return Candidate(name, False, False, _without(fact, runtime), fix, isolation)
    beyond = view.heard.heartbeat.facts.allows.beyond(wish.safety, runtime, wish.repo)
    if beyond:
        fix = f"dispatch within it, or have its owner change ceiling.json on {name}"
        return Candidate(name, False, False, f"may not take it: {beyond}", fix, isolation)
    waits, fix = _not_now(view)
    missing = _no_sandbox(view.heard.heartbeat.facts)
    return Candidate(name, True, not waits, waits or "can take it", fix, isolation, missing)


def _no_sandbox(facts: NodeFacts) -> Problem | None:
    return next((one for one in facts.problems if one.what.startswith(NO_SANDBOX)), None)


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
    if not view.asks:
        return "has not asked for work yet", ""
    shut = view.heard.heartbeat.facts.shut if view.heard is not None else None
    return (f"takes no work: {shut.what}", f"on {name}: {shut.fix}") if shut is not None else ("", "")
