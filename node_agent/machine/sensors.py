"""Reads how strained the machine is, as far as its kernel tells: free memory, and heat."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_MEMORY, _ZONES = Path("/proc/meminfo"), Path("/sys/class/thermal")
_KIB = 1024
_HOTTEST = 150.0
"""What claims to be hotter is no sensor."""


def memory_free(path: Path = _MEMORY) -> int | None:
    """Bytes that a program may still have without another one being moved out; None: not told here."""
    with suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _KIB
    return None


def heat(zones: Path = _ZONES) -> float | None:
    """Degrees Celsius of the hottest zone; None: there is none."""
    found = []
    for zone in zones.glob("thermal_zone*/temp"):
        with suppress(OSError, ValueError):
            found.append(int(zone.read_text()) / 1000)
    return max((one for one in found if 0 < one < _HOTTEST), default=None)
