"""Clocks and ids that only a test moves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class MemoryClock:
    """Three clocks that stand still until they are moved. `ms` counts on all of them."""

    ms: int = 1_000_000
    wall: int = 1_790_000_000_000

    def wall_ms(self) -> int:
        return self.wall + self.ms

    def boot_ms(self) -> int:
        return self.ms

    def mono_ms(self) -> int:
        return self.ms

    def advance(self, ms: int) -> None:
        self.ms += ms


@dataclass(slots=True)
class CountingIds:
    """Ids that only count: the same run gives the same ids."""

    count: int = 0

    def token(self, nbytes: int) -> str:
        self.count += 1
        return f"{self.count:0{2 * nbytes}x}"

    def short(self, length: int) -> str:
        self.count += 1
        return f"{self.count:0{length}d}"
