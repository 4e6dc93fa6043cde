"""Makes launch requests and places for the runtimes' tests."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes.base import LaunchRequest, Place
from node_agent.wire.job import Limits
from node_agent.wire.policy import Isolation, Mode, Safety

LIMITS = Limits(wall_ms=60_000, idle_ms=30_000, output_bytes=1 << 20)
REQUEST = LaunchRequest(
    task="do it",
    prompt="",
    mode=Mode.BUILD,
    safety=Safety.AUTO_EDIT,
    read_only=False,
    workspace="/node/work/r",
    home="/node/homes/r",
    limits=LIMITS,
)
PLACE = Place(path="/usr/bin:/bin", python="/usr/bin/python3", is_root=False, isolation=Isolation.NONE)


def ask(**changes: object) -> LaunchRequest:
    return replace(REQUEST, **changes)  # type: ignore[arg-type]


def place(**changes: object) -> Place:
    return replace(PLACE, **changes)  # type: ignore[arg-type]
