"""The node's ports in memory: what is durable outlives a crash; time is what the clock says.

For simulation and tests; they pass the same contract suites as the real ones.
"""

from __future__ import annotations

from tests.fakes.node.calls import MemoryCalls, NoSessions
from tests.fakes.node.clock import MemoryClock, SeededIds
from tests.fakes.node.host import MemoryHost, Script
from tests.fakes.node.places import MemoryDepot, MemoryDepotLink, MemoryWorkspaces
from tests.fakes.node.runner import MemoryRunner
from tests.fakes.node.runtime import LineReader, MemoryFacts, MemoryRuntimes
from tests.fakes.node.shelf import MemoryShelf
from tests.fakes.node.trip import Crash, Tripping, Tripwire, die
from tests.fakes.node.uplink import MemoryUplink

__all__ = [
    "SeededIds",
    "Crash",
    "LineReader",
    "MemoryCalls",
    "MemoryClock",
    "MemoryDepot",
    "MemoryDepotLink",
    "MemoryFacts",
    "MemoryHost",
    "MemoryRunner",
    "MemoryRuntimes",
    "MemoryShelf",
    "MemoryUplink",
    "MemoryWorkspaces",
    "NoSessions",
    "Script",
    "Tripping",
    "Tripwire",
    "die",
]
