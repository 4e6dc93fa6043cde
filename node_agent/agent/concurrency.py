"""Decides how many attempts a node takes at the same time, within its owner's bounds: fewer under strain.

The strain of models counts too, if it is reported: a queue in a model server that runs on the node use, and a
provider's rate limit that is nearly used up. To avoid oscillation, a slot is removed only after lasting
strain and restored only after a longer time without strain, and nothing changes between the two thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from node_agent.attempt.gateways import ModelUse
from node_agent.intervals import Intervals
from node_agent.wire.node import NodeFacts

STRAINED_LOAD, CALM_LOAD = 1.5, 0.9
"""The load average of the last minute per core."""
STRAINED_MEMORY, CALM_MEMORY = 0.08, 0.2
"""The share of the node's memory that is still available to programs."""
STRAINED_HEAT, CALM_HEAT = 90.0, 80.0
"""The temperature of the hottest sensor, in degrees Celsius."""
STRAINED_QUEUE, CALM_QUEUE = 2, 0
"""The number of calls that wait in a model server's own queue."""
FRESH_QUEUE_MS = 120_000
"""The age in milliseconds beyond which a reported queue length counts as unknown."""
STRAINED_LEFT, CALM_LEFT = 10, 30
"""The percentage that is left of a provider's rate limit."""


class Strain(Enum):
    """The degree of strain of a node."""

    STRAINED = "strained"
    FAIR = "fair"
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The current concurrency. `slots`: attempts the node takes now; `since_ms`: when its `strain` or `slots`
    last changed. `why`: text on why it takes fewer attempts than it could; empty if it does not."""

    slots: int
    strain: Strain
    since_ms: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class StrainReading:
    """The causes of strain of a node at one check: its `facts`, and the models that its runs use. `waiting`:
    calls in the queue of `server`; `left`: percent left of the rate limit of `runtime`'s provider. The
    defaults mean: not reported."""

    facts: NodeFacts
    waiting: int = 0
    server: str = ""
    left: int = 100
    runtime: str = ""


def reading_of(facts: NodeFacts, uses: Iterable[ModelUse], now_ms: int) -> StrainReading:
    """Return the longest queue and the lowest remaining rate limit; too old reports count as unknown."""
    uses = tuple(uses)
    used = {one.endpoint for one in uses}
    fresh = (one for one in facts.endpoints if one.name in used and one.age_ms < FRESH_QUEUE_MS)
    queues = [(one.waiting, one.name) for one in fresh if one.waiting is not None]
    limits = [(one.count.left, one.runtime) for one in uses if one.count is not None
              and one.count.left is not None and now_ms < one.count.left_until_ms]  # fmt: skip
    return StrainReading(facts, *max(queues, default=(0, "")), *min(limits, default=(100, "")))


def strain_of(seen: StrainReading) -> tuple[Strain, str]:
    """Return the degree of strain, and text about its cause."""
    facts = seen.facts
    load = facts.load_1m / facts.cpus
    free = facts.memory_free / facts.memory if facts.memory_free is not None and facts.memory else 1.0
    heat = facts.heat if facts.heat is not None else 0.0
    words = [
        f"load {facts.load_1m:.1f} on {facts.cpus} cores" if load >= STRAINED_LOAD else "",
        f"{free:.0%} of the node's memory left" if free <= STRAINED_MEMORY else "",
        f"{heat:.0f} degrees" if heat >= STRAINED_HEAT else "",
        f"{seen.waiting} calls wait in the queue of {seen.server}" if seen.waiting >= STRAINED_QUEUE else "",
        f"{seen.left}% left of the rate limit of {seen.runtime}'s provider"
        if seen.left <= STRAINED_LEFT
        else "",
    ]
    if any(words):
        return Strain.STRAINED, ", ".join(filter(None, words))
    calm = load <= CALM_LOAD and free >= CALM_MEMORY and heat <= CALM_HEAT
    calm = calm and seen.waiting <= CALM_QUEUE and seen.left >= CALM_LEFT
    return (Strain.CALM if calm else Strain.FAIR), ""


def update_concurrency(
    concurrency: Concurrency | None,
    least: int,
    most: int,
    seen: StrainReading,
    now_ms: int,
    intervals: Intervals,
) -> Concurrency:
    """Return the concurrency after a reading. `concurrency`: the previous one; None: at start, all slots."""
    strain, words = strain_of(seen)
    if concurrency is None:
        return Concurrency(most, strain, now_ms)
    slots = min(max(concurrency.slots, least), most)
    since = concurrency.since_ms if (strain, slots) == (concurrency.strain, concurrency.slots) else now_ms
    lasted = now_ms - since
    why = concurrency.why
    if strain is Strain.STRAINED and slots > least and lasted >= intervals.tighten_ms:
        slots, since, why = slots - 1, now_ms, words
    elif strain is Strain.CALM and slots < most and lasted >= intervals.loosen_ms:
        slots, since = slots + 1, now_ms
    return Concurrency(slots, strain, since, why if slots < most else "")
