"""Settings of an earlier version: an old home still starts, and its owner is told what to do instead."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.config.layers import Folded
from pancode.kernel.values import replace


@dataclass(frozen=True, slots=True)
class RemovedSetting:
    """A setting, or with `value` one of its values, that this version does not have. `instead`: the value
    that takes its place. `holds`: while it is set, no change lands by itself. `place`: where it is set."""

    key: str
    reason: str
    fix: str
    value: str | None = None
    instead: str = ""
    holds: bool = False
    place: str = ""

    @property
    def what(self) -> str:
        return f"{self.place}: {self.key}{f': {self.value}' if self.value else ''}"

    @property
    def why(self) -> str:
        return f"{self.reason}{_HOLDS if self.holds else ''}"

    @property
    def words(self) -> str:
        return f"{self.what} is left out: {self.why}; {self.fix}"


_HOLDS = ", and until it is removed no change lands by itself"
_OVER_SSH = "nodes are linked over SSH, also where its server forbids forwarding"
REMOVED = (
    RemovedSetting("direct.listen", _OVER_SSH, "remove it, then: pancode fleet up"),
    RemovedSetting("direct.advertise", _OVER_SSH, "remove it, then: pancode fleet up"),
    RemovedSetting(
        "dispatch.verify_on",
        "no other node verifies a result any more",
        "remove it; gates run on the run's own node, on a checkout of the result",
        holds=True,
    ),
    RemovedSetting(
        "dispatch.land",
        "a result is no longer verified by two nodes",
        "write when-passed to land each result whose gates have passed, or remove it",
        value="when-verified",
        instead="when-passed",
        holds=True,
    ),
)


def take_removed(folded: Folded) -> tuple[RemovedSetting, ...]:
    """Take the removed settings out of the merged layers, and return those that were set."""
    found = list[RemovedSetting]()
    for one in REMOVED:
        group, _, key = one.key.rpartition(".")
        within = folded.data.get(group)
        if not isinstance(within, dict) or key not in within or one.value not in (None, within[key]):
            continue
        if within.pop(key) is not None:  # a key without a value sets nothing
            found.append(replace(one, place=folded.origin(one.key)))
        if one.instead:
            within[key] = one.instead
    for group in {one.key.partition(".")[0] for one in REMOVED}:
        if folded.data.get(group) == {}:
            del folded.data[group]
    return tuple(found)
