"""A server is judged by what its slots do, over time: slow is not wedged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from node_agent.endpoints.dialects import Memory, Slot, SlotCount
from node_agent.endpoints.table import DecodeProgress

SILENT = SlotCount(1, silent=True)
IDLE = SlotCount(1)


def busy(decoded: int, processed: int = 100, task: int = 1) -> SlotCount:
    return SlotCount(1, (Slot(task, processed, decoded),))


@pytest.mark.parametrize(
    ("looks", "wedged"),
    [
        ([(0, IDLE), (600_000, IDLE)], False),
        ([(0, SILENT)], False),
        ([(0, SILENT), (9_000, SILENT)], False),
        ([(0, SILENT), (10_000, SILENT)], True),
        ([(0, SILENT), (5_000, IDLE), (12_000, SILENT)], False),
        ([(0, busy(7)), (59_000, busy(7))], False),
        ([(0, busy(7)), (60_000, busy(7))], True),
        ([(0, busy(7)), (59_000, busy(8)), (118_000, busy(8))], False),
        ([(0, busy(7)), (60_000, busy(7, task=2))], False),
        ([(0, busy(0)), (299_000, busy(0))], False),  # a long prompt on a slow machine
        ([(0, busy(0)), (300_000, busy(0))], True),
        ([(0, busy(0)), (299_000, busy(0, 2148)), (598_000, busy(0, 2148))], False),
        ([(0, busy(7)), (60_000, busy(7)), (61_000, busy(9))], False),
        ([(0, SILENT), (10_000, SILENT), (20_000, None)], False),  # asleep: nothing is known of it
    ],
)
def test_wedged(looks: Sequence[tuple[int, SlotCount | None]], wedged: bool) -> None:
    progress = DecodeProgress()
    for now, seen in looks:
        progress = progress.after(seen, now)
    assert bool(progress.words) is wedged


def asks(looks: Sequence[tuple[int, SlotCount, bool]]) -> list[bool]:
    """Whether slots would be asked for at each look, and are then."""
    memory, told = Memory(), []
    for now, seen, in_use in looks:
        told.append(in_use or now >= memory.slots_due_ms)
        memory.asked(seen if told[-1] else None, in_use, now)
    return told


def test_a_server_that_nobody_of_ours_uses_is_left_to_fall_asleep() -> None:
    every = [(at * 30_000, IDLE, False) for at in range(80)]
    assert [i for i, asked in enumerate(asks(every)) if asked] == [0, 20, 60]  # 0, 10 and 30 minutes


def test_one_that_works_or_is_silent_is_watched() -> None:
    assert asks([(0, IDLE, True), (30_000, busy(1), True), (60_000, IDLE, False), (90_000, IDLE, False)]) == [
        True,
        True,
        True,
        False,
    ]
    assert asks([(0, SILENT, False), (10_000, SILENT, False)]) == [True, True]
