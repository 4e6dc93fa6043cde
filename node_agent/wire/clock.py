"""Time, ids and randomness, as objects that callers pass in."""

from __future__ import annotations

import secrets
import time
from typing import Protocol

# No vowels or similar characters: an id can be read aloud and typed from a screen, and never spells a word.
ALPHABET = "23456789bcdfghjkmnpqrstvwxz"


class Clock(Protocol):
    """The three clocks of a node, all in whole milliseconds. Each returns at once and never raises."""

    def wall_ms(self) -> int:
        """Return Unix time. It may jump, so it is for users and records only."""

    def boot_ms(self) -> int:
        """Return milliseconds since boot, including sleep (CLOCK_BOOTTIME), for fleet time and liveness."""

    def mono_ms(self) -> int:
        """Return milliseconds since some moment, without sleep (CLOCK_MONOTONIC), for time limits of runs."""


class Ids(Protocol):
    """A source of random ids."""

    def token(self, nbytes: int) -> str:
        """Return random hexadecimal text of 2 x `nbytes` characters."""

    def short(self, length: int) -> str:
        """Return random text of `length` characters of ALPHABET."""


class SystemClock:
    """The node's own clocks."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def mono_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class SystemIds:
    """Random ids from the operating system's randomness."""

    def token(self, nbytes: int) -> str:
        return secrets.token_hex(nbytes)

    def short(self, length: int) -> str:
        return "".join(secrets.choice(ALPHABET) for _ in range(length))
