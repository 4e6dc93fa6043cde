"""What a node says about itself: facts, runtimes, problems."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from node_agent.wire.model import Count, Millis, WireModel
from node_agent.wire.policy import Isolation


class Flag(StrEnum):
    """What a runtime does by itself; what it does not, the node does, or nobody."""

    STREAM = "stream"
    USAGE = "usage"
    COST = "cost"
    RESUME = "resume"
    READ_ONLY = "read-only"
    TOOLS = "tools"
    TURNS = "turns"
    BUDGET = "budget"


class RuntimeFact(WireModel):
    """A runtime as found on the node. `can`: its flags, where it was found."""

    name: str
    version: str | None = None
    state: Literal["ok", "missing", "not_logged_in", "unknown_version"]
    fix: str = ""
    can: tuple[Flag, ...] = ()


class Problem(WireModel):
    """Something that is wrong and the command that mends it."""

    what: str
    fix: str = ""


class NodeFacts(WireModel):
    """The machine. Sizes in bytes."""

    hostname: str
    os: str
    arch: str
    python: str
    cpus: Count
    memory: Count
    disk_free: Count
    load_1m: float
    isolation: Isolation
    runtimes: tuple[RuntimeFact, ...]
    problems: tuple[Problem, ...] = ()
    wall_ms: Millis
