"""What a Redis in memory holds, and a FLUSHALL takes away."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pancode.kernel.ports import Ticket


class JobState(StrEnum):
    """RQ's words for where a job stands."""

    QUEUED = "queued"
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(slots=True)
class MemoryJob:
    """One RQ job; `at_ms` is when it was last claimed or closed."""

    queue: str
    envelope: str
    state: JobState = JobState.QUEUED
    at_ms: int | None = None
    reason: str = ""
    claim: object | None = None


Entry = tuple[tuple[int, int], bytes]


@dataclass(slots=True)
class Store:
    """What a FLUSHALL takes away."""

    queues: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, MemoryJob] = field(default_factory=dict)
    tickets: dict[str, Ticket] = field(default_factory=dict)
    up: dict[str, list[Entry]] = field(default_factory=dict)
    down: dict[str, list[Entry]] = field(default_factory=dict)
    coordinator_heartbeats: dict[str, bytes] = field(default_factory=dict)
    profiles: dict[str, bytes] = field(default_factory=dict)
    heartbeats: dict[str, bytes] = field(default_factory=dict)
    named: dict[str, set[bytes]] = field(default_factory=dict)
    """By tag: what a node has written into its registry of started jobs beside what claims leave there."""
    odd: dict[str, str] = field(default_factory=dict)
    """By tag: what closing a job of that node finds wrong with what the node wrote."""
