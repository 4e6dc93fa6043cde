"""Thousands of seeded schedules of work and faults; a failing seed is printed and replays exactly.

One seed by hand: PANCODE_SIM_SEED=123 pytest tests/simulation; more of them: PANCODE_SIM_COUNT=20000.
`make test` runs the first of them (tests/journeys.py), and the slice `simulation` 1,040: a quarter of a
second of processor time each. A wrong order of two events hides in one of many schedules.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.kinds import INTERACTIVE_RUNS, RESTORED, RESTORED_FLOWS, STRAINED
from tests.simulation.schedule import Schedule

COUNT = int(os.environ.get("PANCODE_SIM_COUNT", "1040"))
ONE = os.environ.get("PANCODE_SIM_SEED")
CHUNK = 20


@pytest.mark.slow
@pytest.mark.parametrize("first", [int(ONE)] if ONE else range(0, COUNT, CHUNK))
def test_every_invariant_holds(first: int) -> None:
    for seed in (first,) if ONE else range(first, min(COUNT, first + CHUNK)):
        Schedule(seed).run()


@pytest.mark.slow
@pytest.mark.parametrize("first", [int(ONE)] if ONE else range(0, COUNT // 8, CHUNK))
def test_every_invariant_holds_of_sessions(first: int) -> None:
    """Users talk with sessions while all of that happens."""
    for seed in (first,) if ONE else range(first, first + CHUNK):
        Schedule(seed, INTERACTIVE_RUNS).run()


@pytest.mark.slow
@pytest.mark.parametrize("first", [int(ONE)] if ONE else range(0, COUNT // 2, CHUNK))
def test_every_invariant_holds_of_restored_ledgers(first: int) -> None:
    """The ledger is put back: what it has as pending is held, and what nodes did since is booked once."""
    for seed in (first,) if ONE else range(first, first + CHUNK):
        Schedule(seed, RESTORED_FLOWS if seed % 2 else RESTORED).run()


@pytest.mark.slow
@pytest.mark.parametrize("first", [int(ONE)] if ONE else range(0, COUNT // 16, CHUNK))
def test_every_invariant_holds_of_strained_machines(first: int) -> None:
    """Machines decide by themselves how many runs they take, and never flap."""
    for seed in (first,) if ONE else range(first, first + CHUNK):
        Schedule(seed, STRAINED).run()
