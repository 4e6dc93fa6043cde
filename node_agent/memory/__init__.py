"""The node's ports in memory: what is durable outlives a crash; time is what the clock says.

For simulation and tests; they pass the same contract suites as the real ones.
"""

from __future__ import annotations

from node_agent.memory.clock import CountingIds, MemoryClock
from node_agent.memory.host import MemoryHost, Script
from node_agent.memory.places import MemoryDepot, MemoryDepotLink, MemoryWorkspaces
from node_agent.memory.runner import MemoryRunner
from node_agent.memory.runtime import LineReader, MemoryFacts, MemoryRuntimes
from node_agent.memory.shelf import MemoryShelf
from node_agent.memory.trip import Crash, Tripping, Tripwire, die
from node_agent.memory.uplink import MemoryUplink

__all__ = [
    "CountingIds",
    "Crash",
    "LineReader",
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
    "Script",
    "Tripping",
    "Tripwire",
    "die",
]
