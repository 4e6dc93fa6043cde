"""A seed is enough to see again what happened; and a forger leaves no trace but in the audit."""

from __future__ import annotations

import pytest

from tests.simulation.kinds import NAMES
from tests.simulation.schedule import Schedule


@pytest.mark.parametrize("kind", NAMES)
def test_a_seed_replays_exactly(kind: str) -> None:
    first, second, other = Schedule(7, kind), Schedule(7, kind), Schedule(8, kind)
    for schedule in (first, second, other):
        schedule.run()
    assert first.story == second.story
    assert first.digest() == second.digest() != other.digest()


@pytest.mark.parametrize("seed", range(24))
def test_forged_words_change_nothing(seed: int) -> None:
    """The same schedule with and without every forged, altered and unreadable message: the same ledger."""
    attacked, quiet = Schedule(seed, "enemy"), Schedule(seed, "enemy")
    quiet.quiet_enemy = True
    attacked.run()
    quiet.run()
    assert attacked.story == quiet.story
    assert attacked.digest() == quiet.digest()
