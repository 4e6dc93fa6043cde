"""Counts for the figures of a node's link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Linked:
    """Whether it is up, and how often it broke since the coordinator started."""

    up: bool = False
    breaks: int = 0

    def became(self, up: bool, broken: bool) -> Linked:
        """`broken`: it went by itself, and not because we closed it. One that was not up cannot break."""
        return Linked(up, self.breaks + (self.up and broken))
