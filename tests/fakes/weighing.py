"""Weighs what each node keeps in the memory store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pancode.kernel.quota import NOTHING, RedisUsage


def weighed(
    up: Mapping[str, Sequence[tuple[object, bytes]]],
    heartbeats: Mapping[str, bytes],
    jobs: Iterable[tuple[str, int]],
) -> dict[str, RedisUsage]:
    """By tag; `jobs`: names, and bytes of what is stored of each."""
    found: dict[str, RedisUsage] = {}

    def add(tag: str, size: int) -> None:
        before = found.get(tag, NOTHING)
        found[tag] = RedisUsage(before.size + size, before.keys + 1)

    for tag, entries in up.items():
        add(tag, sum(len(data) for _, data in entries))
    for tag, heartbeat in heartbeats.items():
        add(tag, len(heartbeat))
    for name, size in jobs:
        add(name.partition("_")[0], size)
    return found
