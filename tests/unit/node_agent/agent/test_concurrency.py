"""How many attempts a machine takes at once: fewer while it is strained, more when calm, never flapping."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.agent.concurrency import (
    Concurrency,
    Strain,
    StrainReading,
    reading_of,
    strain_of,
    update_concurrency,
)
from node_agent.attempt.gateways import ModelCount, ModelUse
from node_agent.intervals import Intervals
from node_agent.wire.endpoint import Dialect, EndpointFact
from node_agent.wire.node import NodeFacts
from node_agent.wire.receipt import ModelCalls, Usage
from tests.unit.node_agent.wire.samples import facts

INTERVALS = Intervals()
LOOK_MS = 30_000


def seen(load: float = 0.1, free: int | None = 8 << 30, heat: float | None = 40.0) -> NodeFacts:
    """A machine of 4 cores and 16 GiB."""
    more = {"cpus": 4, "memory": 16 << 30, "load_1m": load, "memory_free": free, "heat": heat}
    return facts().model_copy(update=more)


def reading(facts: NodeFacts | None = None, **models: Any) -> StrainReading:
    return StrainReading(facts or seen(), **models)


def looks(
    concurrency: Concurrency | None, machine: StrainReading, minutes: float, begin_ms: int = 0
) -> Concurrency:
    for at in range(0, int(minutes * 60_000) + 1, LOOK_MS):
        concurrency = update_concurrency(concurrency, 1, 4, machine, begin_ms + at, INTERVALS)
    assert concurrency is not None
    return concurrency


USED_UP: dict[str, Any] = {"left": 7, "runtime": "claude"}


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (reading(seen(load=7.0)), "load 7.0 on 4 cores"),
        (reading(seen(free=1 << 30)), "6% of the node's memory left"),
        (reading(seen(heat=95)), "95 deg"),
        (reading(waiting=3, server="vllm"), "3 calls wait in the queue of vllm"),
        (reading(**USED_UP), "7% left of the rate limit of claude's provider"),
        (reading(seen(load=7.0), **USED_UP), "load 7.0 on 4 cores, 7% left of"),
    ],
)
def test_each_strain_that_lasts_takes_slots_down_to_the_least(machine: StrainReading, words: str) -> None:
    assert looks(None, machine, 0.5).slots == 4, "a short one takes none"
    assert looks(None, machine, 1).slots == 3
    down = looks(None, machine, 10)
    assert down.slots == 1 and words in down.why
    up = looks(down, reading(), 4, 600_000)
    assert up.slots == 2 and words in up.why, "one after the other"
    whole = looks(down, reading(), 20, 600_000)
    assert (whole.slots, whole.strain, whole.why) == (4, Strain.CALM, "")


def test_what_a_machine_does_not_tell_strains_nothing() -> None:
    assert strain_of(reading(seen(free=None, heat=None))) == (Strain.CALM, "")


def test_between_the_two_nothing_changes() -> None:
    down = looks(None, reading(seen(load=7.0)), 2)
    between = (reading(seen(load=5.0)), reading(waiting=1, server="vllm"), reading(left=20, runtime="claude"))
    for machine in between:
        assert looks(down, machine, 60, 200_000).slots == down.slots


READINGS = st.builds(
    StrainReading,
    st.builds(seen, load=st.sampled_from([0.1, 3.0, 4.5, 7.0, 20.0])),
    waiting=st.sampled_from([0, 0, 0, 1, 9]),
    left=st.sampled_from([100, 100, 100, 20, 0]),
)


@given(st.lists(READINGS, min_size=2, max_size=200))
def test_it_never_flaps_and_never_leaves_its_bounds(looked: list[StrainReading]) -> None:
    concurrency, before, changed_ms = update_concurrency(None, 2, 6, reading(), 0, INTERVALS), 6, 0
    for number, one in enumerate(looked, 1):
        now = number * LOOK_MS
        concurrency = update_concurrency(concurrency, 2, 6, one, now, INTERVALS)
        assert 2 <= concurrency.slots <= 6 and abs(concurrency.slots - before) <= 1
        if concurrency.slots != before:
            assert now - changed_ms >= INTERVALS.tighten_ms, "never twice within a minute"
            if concurrency.slots > before:
                calm = looked[max(0, number - 6) : number]
                assert all(of.facts.load_1m <= 3.6 and (of.waiting, of.left) == (0, 100) for of in calm), (
                    "after three calm minutes"
                )
            before, changed_ms = concurrency.slots, now


def test_bounds_that_its_owner_changes_hold_at_once() -> None:
    assert update_concurrency(looks(None, reading(), 1), 1, 2, reading(), 99_000, INTERVALS).slots == 2
    assert (
        update_concurrency(
            looks(None, reading(seen(load=9.0)), 9), 3, 4, reading(seen(load=9.0)), 900_000, INTERVALS
        ).slots
        == 3
    )


def test_bounds_that_take_a_slot_are_a_change_like_any_other() -> None:
    strained = reading(seen(load=9.0))
    before = update_concurrency(
        update_concurrency(None, 1, 4, strained, 0, INTERVALS), 1, 4, strained, 50_000, INTERVALS
    )
    narrowed = update_concurrency(before, 1, 3, strained, 55_000, INTERVALS)
    assert narrowed.slots == 3
    assert update_concurrency(narrowed, 1, 3, strained, 70_000, INTERVALS).slots == 3, (
        "not twice within a minute"
    )
    assert update_concurrency(narrowed, 1, 3, strained, 115_000, INTERVALS).slots == 2


def use(endpoint: str | None = None, left: int | None = None, runtime: str = "claude") -> ModelUse:
    count = ModelCount(Usage(), ModelCalls(), left=left, left_until_ms=90_000)
    return ModelUse(runtime, endpoint, count)


def test_only_models_of_agents_at_work_press_and_what_nobody_tells_does_not() -> None:
    queues = {"busy": 9, "own": 2, "mute": None}
    servers = tuple(
        EndpointFact(name=name, dialect=Dialect.VLLM, at="h:1", waiting=waiting)
        for name, waiting in queues.items()
    )
    machine = seen().model_copy(update={"endpoints": servers})
    assert reading_of(machine, [], 0) == reading_of(machine, [use("mute"), use()], 0) == reading(machine)
    agents = [
        use("own"),
        use("mute"),
        use(left=40),
        use(left=0, runtime="codex"),
        ModelUse("shell", None, None),
    ]
    assert reading_of(machine, iter(agents), 0) == StrainReading(machine, 2, "own", 0, "codex")
    assert reading_of(machine, agents, 90_000).left == 100, "what was told too long ago is not known"


def test_a_queue_that_was_told_too_long_ago_is_not_known() -> None:
    for age_ms, waiting in ((0, 5), (119_999, 5), (120_000, 0)):
        server = EndpointFact(name="own", dialect=Dialect.VLLM, at="h:1", waiting=5, age_ms=age_ms)
        machine = seen().model_copy(update={"endpoints": (server,)})
        assert reading_of(machine, [use("own")], 0).waiting == waiting
