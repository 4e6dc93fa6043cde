"""What a node says about itself: facts, runtimes, problems."""

from __future__ import annotations

from typing import Literal

from node_agent.wire.model import Count, Millis, WireModel
from node_agent.wire.policy import Isolation


class RuntimeFact(WireModel):
    """A runtime as found on the node."""

    name: str
    version: str | None = None
    state: Literal["ok", "missing", "not_logged_in", "unknown_version"]
    fix: str = ""


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
