"""Decides how many attempts a machine takes at once, between its owner's bounds: fewer when it is strained.

It never flaps: what strains a machine has to last before a slot goes, has to be over for longer before one
comes back, and between the two lies a band in which nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from node_agent.tempo import Tempo
from node_agent.wire.node import NodeFacts

STRAINED_LOAD, CALM_LOAD = 1.5, 0.9
"""Of the last minute, for each core."""
STRAINED_MEMORY, CALM_MEMORY = 0.08, 0.2
"""The share of the memory that a program may still have."""
STRAINED_HEAT, CALM_HEAT = 90.0, 80.0
"""Degrees Celsius of the hottest sensor."""


class Strain(Enum):
    """The state of a machine."""

    STRAINED = "strained"
    FAIR = "fair"
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Pace:
    """`slots` now; `since_ms`: for so long the machine is as `strain` says, or the last slot went or came.

    `why`: in words, why it takes fewer than it could; empty: it does not.
    """

    slots: int
    strain: Strain
    since_ms: int
    why: str = ""


def strain_of(facts: NodeFacts) -> tuple[Strain, str]:
    """With the words for what strains it."""
    load = facts.load_1m / facts.cpus
    free = facts.memory_free / facts.memory if facts.memory_free is not None and facts.memory else 1.0
    heat = facts.heat if facts.heat is not None else 0.0
    words = [
        f"load {facts.load_1m:.1f} on {facts.cpus} cores" if load >= STRAINED_LOAD else "",
        f"{free:.0%} of its memory left" if free <= STRAINED_MEMORY else "",
        f"{heat:.0f} degrees" if heat >= STRAINED_HEAT else "",
    ]
    if any(words):
        return Strain.STRAINED, ", ".join(filter(None, words))
    calm = load <= CALM_LOAD and free >= CALM_MEMORY and heat <= CALM_HEAT
    return (Strain.CALM if calm else Strain.FAIR), ""


def paced(pace: Pace | None, least: int, most: int, facts: NodeFacts, now_ms: int, tempo: Tempo) -> Pace:
    """The pace after another look. `pace` None: the first look, with all slots."""
    strain, words = strain_of(facts)
    if pace is None:
        return Pace(most, strain, now_ms)
    slots = min(max(pace.slots, least), most)
    since = pace.since_ms if strain is pace.strain else now_ms
    lasted = now_ms - since
    why = pace.why
    if strain is Strain.STRAINED and slots > least and lasted >= tempo.tighten_ms:
        slots, since, why = slots - 1, now_ms, words
    elif strain is Strain.CALM and slots < most and lasted >= tempo.loosen_ms:
        slots, since = slots + 1, now_ms
    return Pace(slots, strain, since, why if slots < most else "")
