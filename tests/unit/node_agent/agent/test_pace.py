"""How many attempts a machine takes at once: fewer while it is strained, more when calm, never flapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.agent.pace import Pace, Strain, paced, strain_of
from node_agent.tempo import Tempo
from node_agent.wire.node import NodeFacts
from tests.unit.node_agent.wire.samples import facts

TEMPO = Tempo()
LOOK_MS = 30_000


def seen(load: float = 0.1, free: int | None = 8 << 30, heat: float | None = 40.0) -> NodeFacts:
    """A machine of 4 cores and 16 GiB."""
    more = {"cpus": 4, "memory": 16 << 30, "load_1m": load, "memory_free": free, "heat": heat}
    return facts().model_copy(update=more)


def looks(pace: Pace | None, machine: NodeFacts, minutes: float, begin_ms: int = 0) -> Pace:
    for at in range(0, int(minutes * 60_000) + 1, LOOK_MS):
        pace = paced(pace, 1, 4, machine, begin_ms + at, TEMPO)
    assert pace is not None
    return pace


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (seen(load=7.0), "load 7.0 on 4 cores"),
        (seen(free=1 << 30), "6% of its memory"),
        (seen(heat=95), "95 deg"),
    ],
)
def test_each_strain_that_lasts_takes_slots_down_to_the_least(machine: NodeFacts, words: str) -> None:
    assert looks(None, machine, 0.5).slots == 4, "a short one takes none"
    assert looks(None, machine, 1).slots == 3
    down = looks(None, machine, 10)
    assert down.slots == 1 and words in down.why
    up = looks(down, seen(), 4, 600_000)
    assert up.slots == 2 and words in up.why, "one after the other"
    whole = looks(down, seen(), 20, 600_000)
    assert (whole.slots, whole.strain, whole.why) == (4, Strain.CALM, "")


def test_what_a_machine_does_not_tell_strains_nothing() -> None:
    assert strain_of(seen(free=None, heat=None)) == (Strain.CALM, "")


def test_between_the_two_nothing_changes() -> None:
    down = looks(None, seen(load=7.0), 2)
    assert looks(down, seen(load=5.0), 60, 200_000).slots == down.slots


@given(st.lists(st.sampled_from([0.1, 3.0, 4.5, 7.0, 20.0]), min_size=2, max_size=200))
def test_it_never_flaps_and_never_leaves_its_bounds(loads: list[float]) -> None:
    pace, before, changed_ms = paced(None, 2, 6, seen(), 0, TEMPO), 6, 0
    for number, load in enumerate(loads, 1):
        now = number * LOOK_MS
        pace = paced(pace, 2, 6, seen(load=load), now, TEMPO)
        assert 2 <= pace.slots <= 6 and abs(pace.slots - before) <= 1
        if pace.slots != before:
            assert now - changed_ms >= TEMPO.tighten_ms, "never twice within a minute"
            if pace.slots > before:
                assert all(one <= 3.6 for one in loads[max(0, number - 6) : number]), (
                    "after three calm minutes"
                )
            before, changed_ms = pace.slots, now


def test_bounds_that_its_owner_changes_hold_at_once() -> None:
    assert paced(looks(None, seen(), 1), 1, 2, seen(), 99_000, TEMPO).slots == 2
    assert paced(looks(None, seen(load=9.0), 9), 3, 4, seen(load=9.0), 900_000, TEMPO).slots == 3
