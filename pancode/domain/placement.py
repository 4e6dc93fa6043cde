"""Which waiting run goes to which node now, and why each of the others waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pancode.domain.fleet import NodeState, NodeView
from pancode.domain.records import Run


@dataclass(frozen=True, slots=True)
class Placed:
    """This run to this node, with the reason in words."""

    run: Run
    node: NodeView
    why: str


@dataclass(frozen=True, slots=True)
class Waits:
    """This run stays where it is, with the reason in words."""

    run: Run
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The fleet at the moment of a decision."""

    nodes: tuple[NodeView, ...]
    free: Mapping[str, int]
    """Free slots by node name, counted by the coordinator."""
    paused: str | None = None
    """Reason of a pause of the whole fleet."""
    paused_queues: Mapping[str, str] | None = None


def pool_of(run: Run) -> str:
    """What a run asks for, as the name of its pool: a pinned node, labels, or anything."""
    if run.node is not None:
        return f"node.{run.node}"
    if run.require:
        return "+".join(f"{k}={v}" for k, v in sorted(run.require.items()))
    return "any"


def in_order(runs: Iterable[Run]) -> list[Run]:
    """One order over all: priority, higher first, then age, then id."""
    return sorted(runs, key=lambda r: (-r.priority, r.created_ms, r.id))


def choose(runs: Iterable[Run], standing: Standing) -> list[Placed | Waits]:
    """A decision for each run, in the order in which they are served."""
    free = dict(standing.free)
    decided: list[Placed | Waits] = []
    in_vain: dict[object, str] = {}
    """By what a run asks for: why it waits, which holds for all that ask for the same, as slots only go."""
    for run in in_order(runs):
        wish = (run.node, run.runtime, *sorted(run.require.items()))
        why = in_vain.get(wish)
        decision = _place(run, standing, free) if why is None else Waits(run, why)
        if isinstance(decision, Placed):
            free[decision.node.node.name] -= 1
        else:
            in_vain[wish] = decision.why
        decided.append(decision)
    return decided


def misfit(run: Run, view: NodeView) -> str:
    """Why the node can never take this run as things are; empty when it fits."""
    node = view.node
    if run.node is not None and run.node != node.name:
        return "not the pinned node"
    for key, value in run.require.items():
        if node.labels.get(key) != value:
            return f"has no label {key}={value}"
    if node.removed is not None:
        return node.removed
    if view.heard is not None and not _has_runtime(run, view):
        return f"has no runtime {run.runtime}"
    return ""


def _has_runtime(run: Run, view: NodeView) -> bool:
    if view.heard is None:
        return False
    return any(r.name == run.runtime and r.state == "ok" for r in view.heard.heartbeat.facts.runtimes)


def _place(run: Run, standing: Standing, free: Mapping[str, int]) -> Placed | Waits:
    if standing.paused is not None:
        return Waits(run, f"the fleet is paused: {standing.paused}")
    paused = (standing.paused_queues or {}).get(pool_of(run))
    if paused is not None:
        return Waits(run, f"queue {pool_of(run)} is paused: {paused}")
    fitting = [v for v in standing.nodes if not misfit(run, v)]
    if not fitting:
        return Waits(run, _nowhere(run, standing.nodes))
    ready = [v for v in fitting if v.asks and free.get(v.node.name, 0) > 0]
    if not ready:
        return Waits(run, "; ".join(_not_now(v, free) for v in fitting[:3]))
    best = min(ready, key=lambda v: (-free[v.node.name], v.node.name))
    return Placed(run, best, _because(run, len(ready)))


def _because(run: Run, ready: int) -> str:
    if run.node is not None:
        return "pinned by --node"
    wanted = ", ".join(f"{k}={v}" for k, v in sorted(run.require.items()))
    of = f"of {ready} nodes that can take it" if ready > 1 else "the only node that can take it now"
    return f"{of}{f' with {wanted}' if wanted else ''}, most free slots"


def _nowhere(run: Run, nodes: Sequence[NodeView]) -> str:
    if not nodes:
        return "the fleet has no node"
    if run.node is not None and all(v.node.name != run.node for v in nodes):
        return f"node {run.node} is not in the fleet"
    return "; ".join(
        f"{v.node.name} {misfit(run, v)}" for v in nodes[:5] if misfit(run, v) != "not the pinned node"
    )


def _not_now(view: NodeView, free: Mapping[str, int]) -> str:
    name = view.node.name
    if view.node.quarantined is not None:
        return f"{name} is quarantined: {view.node.quarantined}"
    if view.node.paused is not None:
        return f"{name} is paused: {view.node.paused}"
    if view.node.draining is not None:
        return f"{name} is draining: {view.node.draining}"
    if view.state is NodeState.HALTED:
        return f"{name} is halted (pancode fleet up {name})"
    if view.state is not NodeState.ONLINE:
        return f"{name} is {view.state}"
    if not view.asks:
        return f"{name} has not asked for work yet"
    return f"{name} is busy, no free slot" if free.get(name, 0) <= 0 else f"{name} is free"
