"""Clocks and ids that only a test moves."""

from __future__ import annotations

import random  # noqa: TID251
from dataclasses import dataclass

from node_agent.wire.clock import ALPHABET


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


class SeededIds:
    """Ids in no job, as those of production: the same seed gives the same ids."""

    def __init__(self, seed: int = 0) -> None:
        self._random, self.count = random.Random(seed), 0

    def token(self, nbytes: int) -> str:
        self.count += 1
        return self._random.randbytes(nbytes).hex()

    def short(self, length: int) -> str:
        self.count += 1
        return "".join(self._random.choices(ALPHABET, k=length))
