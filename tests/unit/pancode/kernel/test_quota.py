"""When a node is weighed, and when it keeps too much."""

from __future__ import annotations

import pytest

from pancode.kernel.quota import RedisUsage, too_much, worth_weighing

QUOTA = 64 * 2**20
MIB = 2**20


@pytest.mark.parametrize(
    ("used", "seen", "worth"),
    [
        (2 * MIB, 0, False),  # nobody can keep more than there is
        (63 * MIB, 0, False),
        (64 * MIB, 0, True),
        (70 * MIB, 64 * MIB, False),  # it was looked at
        (80 * MIB, 64 * MIB, True),
        (500 * MIB, 499 * MIB, False),  # full of what is not ours: not weighed again and again
        (500 * MIB, 480 * MIB, True),
    ],
)
def test_when_it_is_worth_a_look(used: int, seen: int, worth: bool) -> None:
    assert worth_weighing(used, seen, QUOTA) is worth


def test_a_node_that_keeps_what_it_may() -> None:
    assert too_much(RedisUsage(QUOTA, 20_000), QUOTA, 0) == ""


def test_jobs_that_we_put_there_do_not_count() -> None:
    kept = RedisUsage(QUOTA + 16 * MIB, 8)
    assert too_much(kept, QUOTA, 16 * MIB) == ""
    assert too_much(kept, QUOTA, 16 * MIB - 1) != ""


def test_what_is_said() -> None:
    assert too_much(RedisUsage(82 * MIB, 12_301), QUOTA, 0) == (
        "the node stored 82 MiB in Redis (12301 keys), and may keep 64 MiB (nodes.redis_quota)"
    )
    assert too_much(RedisUsage(90 * MIB, 1, 80 * MIB), QUOTA, 0) == (
        "the node stored 90 MiB in Redis (1 key and its connections), and may keep 64 MiB (nodes.redis_quota)"
    )
