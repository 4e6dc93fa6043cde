"""Decides whose clock is wrong where the clocks of nodes and of the coordinator differ. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any

from pancode.plain import counted

Json = dict[str, Any]
SKEW_S = 30.0
"""A smaller difference is nobody's problem."""
_SET = "timedatectl set-ntp true"


@dataclass(frozen=True, slots=True)
class ClockVerdict:
    """The problem of the coordinator's own clock, if any; and those of nodes, by name."""

    own: Json | None = None
    nodes: Mapping[str, Json] = field(default_factory=dict)


def judge_clocks(skews: Mapping[str, float], here: Collection[str], ahead_s: float) -> ClockVerdict:
    """`skews`: by node, its clock less ours, in seconds. `here`: nodes on our machine, which share our clock.

    `ahead_s`: how far our newest run was queued in the future. A node is not blamed by our clock alone: when
    all others differ from it in one direction it is ours that is wrong; of two clocks either may be.
    """
    others = {name: skew for name, skew in skews.items() if name not in here}
    wrong = [skew for skew in others.values() if abs(skew) > SKEW_S]
    against = bool(wrong) and len(wrong) == len(others) and len({skew > 0 for skew in wrong}) == 1
    if against and (len(others) > 1 or (ahead_s > SKEW_S and wrong[0] > 0)):
        true = median_low(list(others.values()))
        off = {name: skew - true for name, skew in others.items() if abs(skew - true) > SKEW_S}
        return ClockVerdict(_own(true, len(others), ahead_s), _blamed(off))
    if against:
        ((name, skew),) = others.items()
        return ClockVerdict(None, {**_blamed(_beyond(skews, here)), name: _either(name, skew)})
    return ClockVerdict(None, _blamed(_beyond(skews, skews)))


def _beyond(skews: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    return {name: skew for name, skew in skews.items() if name in names and abs(skew) > SKEW_S}


def _blamed(off: Mapping[str, float]) -> dict[str, Json]:
    return {
        name: {"what": f"its clock is {skew:+.0f} s off", "fix": f"set the clock of {name} ({_SET})"}
        for name, skew in off.items()
    }


def _own(true_s: float, nodes: int, ahead_s: float) -> Json:
    why = f"{counted(nodes, 'node')} differ from it in the same direction"
    if nodes == 1:
        why = f"the one node differs from it, and our newest run was queued {ahead_s:.0f} s in its future"
    what = f"the clock of the coordinator's machine is {-true_s:+.0f} s off"
    return {"what": what, "why": why, "fix": f"set the clock of this machine ({_SET})"}


def _either(name: str, skew: float) -> Json:
    what = f"its clock and the coordinator's differ by {skew:+.0f} s; either may be wrong"
    fix = f"compare `date -u` on both machines with a third clock, then set the wrong one ({_SET})"
    return {"what": what, "fix": fix}
