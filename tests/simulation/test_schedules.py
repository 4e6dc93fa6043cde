"""Thousands of seeded schedules of work and faults; a failing seed is printed and replays exactly.

One seed by hand: PANCODE_SIM_SEED=123 pytest tests/simulation; more of them: PANCODE_SIM_COUNT=20000.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.schedule import Schedule

COUNT = int(os.environ.get("PANCODE_SIM_COUNT", "2000"))
CHUNK = 50


def seeds(chunk: int) -> range:
    return range(chunk * CHUNK, min(COUNT, (chunk + 1) * CHUNK))


@pytest.mark.parametrize("chunk", range((COUNT + CHUNK - 1) // CHUNK))
def test_every_invariant_holds(chunk: int) -> None:
    one = os.environ.get("PANCODE_SIM_SEED")
    for seed in (int(one),) if one else seeds(chunk):
        Schedule(seed).run()


def test_a_seed_replays_exactly() -> None:
    first, second = Schedule(7), Schedule(7)
    first.run()
    second.run()
    assert first.story == second.story
    assert first.clock.ms == second.clock.ms
