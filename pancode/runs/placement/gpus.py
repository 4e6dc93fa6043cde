"""Decides which GPUs of a node a run gets, and why a node has none for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from node_agent.wire.node import NodeFacts
from pancode.kernel.formatting import count_noun, format_bytes
from pancode.kernel.node import NodeView
from pancode.kernel.records import GpuHold, Node, Run
from pancode.kernel.states import GpuRule
from pancode.runs.options import ALL_GPUS


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """What a run asks for. `count` None: all GPUs of its node, at least one. `memory`: bytes of each."""

    count: int | None
    memory: int = 0

    def fits(self, memories: Sequence[int]) -> bool:
        """Whether GPUs with these memories are enough."""
        return len([one for one in memories if one >= self.memory]) >= (self.count or 1)

    @property
    def words(self) -> str:
        many = "GPU" if self.count in (None, 1) else f"{self.count} GPUs"
        return f"{many} of {self.memory / 1e9:.3g} GB" if self.memory else many


@dataclass(frozen=True, slots=True)
class GpuSeen:
    """A GPU of a node as placement sees it. `holder`: the run that holds it; empty: none."""

    uuid: str
    memory: int
    holder: str = ""
    is_silent: bool = False
    """Whether its driver does not answer."""


def need_of(gpus: str | None, memory: int | None) -> GpuNeed | None:
    """Return what these options ask for; None: no GPU for the run alone."""
    if gpus is None and memory is None:
        return None
    return GpuNeed(None if gpus == ALL_GPUS else int(gpus or 1), memory or 0)


def need_of_run(run: Run) -> GpuNeed | None:
    return need_of(run.gpus, run.gpu_memory)


def lack_of_gpus(facts: NodeFacts, node: Node, need: GpuNeed) -> tuple[str, str]:
    """Return why the node can never give these GPUs, and the fix; both empty: it can."""
    there = [one for one in facts.gpus if one.vendor == "nvidia"]
    if not there:
        others = "an AMD GPU, which runs do not get" if facts.gpus else "no GPU"
        return f"has {others}", "pancode node show " + node.name
    if node.gpus is GpuRule.NONE:
        return "gives its GPUs to no run", f"pancode node set {node.name} --gpus all"
    if need.fits([one.memory for one in there]):
        return "", ""
    largest = max(there, key=lambda one: one.memory)
    has = f"{count_noun(len(there), 'GPU')}, the largest {largest.name} of {format_bytes(largest.memory)}"
    return f"has no {need.words}: it has {has}", "ask for less with --gpus or --gpu-memory"


def closes_gpus(view: NodeView) -> bool:
    """Whether a run that asks for no GPU gets none there."""
    return (
        view.last is not None and bool(view.last.heartbeat.facts.gpus) and view.node.gpus is not GpuRule.ALL
    )


def gpus_seen(view: NodeView, holds: Iterable[GpuHold], ended: Collection[str]) -> tuple[GpuSeen, ...]:
    """Return the node's GPUs: held by our own rows, and by its own word. `ended`: attempts whose end came
    after that word."""
    if view.last is None:
        return ()
    beat = view.last.heartbeat
    loads = {one.uuid: one for one in beat.gpus}
    held = {uuid: hold.run for hold in holds if hold.node == view.node.name for uuid in hold.uuids}
    theirs = {
        one.uuid: one.holder.run
        for one in beat.gpus
        if one.holder is not None and str(one.holder) not in ended
    }
    return tuple(
        GpuSeen(
            one.uuid,
            one.memory,
            held.get(one.uuid) or theirs.get(one.uuid, ""),
            one.uuid in loads and loads[one.uuid].unknown_since_ms is not None,
        )
        for one in beat.facts.gpus
        if one.vendor == "nvidia"
    )


def choose_gpus(need: GpuNeed, gpus: Sequence[GpuSeen], taken: Collection[str] = ()) -> tuple[str, ...]:
    """Return the GPUs that the run would get now, the smallest that fit; empty: too few are free."""
    fitting = sorted((one for one in gpus if one.memory >= need.memory), key=lambda one: one.memory)
    free = [one.uuid for one in fitting if not one.holder and not one.is_silent and one.uuid not in taken]
    many = len(gpus) if need.count is None else need.count
    if need.count is None and len(free) < len(gpus):
        return ()
    return tuple(free[:many]) if len(free) >= many else ()


def why_gpus_wait(need: GpuNeed, gpus: Mapping[str, Sequence[GpuSeen]], taken: Mapping[str, str]) -> str:
    """Return what a run waits for, by the nodes that could give it later. `taken`: runs of this moment, by
    the GPU that they get."""
    parts = []
    for name, every in sorted(gpus.items())[:3]:
        seen = [one for one in every if one.memory >= need.memory]
        holders = sorted({one.holder or taken.get(one.uuid, "") for one in seen} - {""})
        silent = sum(one.is_silent for one in seen)
        words = [f"{name} has {len(seen)}", f"held by {', '.join(holders)}" if holders else ""]
        words += [f"{silent} with a driver that does not answer" if silent else ""]
        parts.append(", ".join(filter(None, words)))
    return f"waits for {'a ' if need.count in (None, 1) else ''}{need.words}: {'; '.join(parts)}"
