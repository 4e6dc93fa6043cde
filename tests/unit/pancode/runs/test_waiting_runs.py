"""The queue in memory serves as the whole list would, and reads a row only when its turn has come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pancode.kernel.records import Run, RunState, WaitReason
from pancode.runs.placement.placement import Placed, Standing, decide_placements, in_order
from pancode.runs.waiting_runs import WaitingRuns, in_turn
from tests.unit.pancode.kernel.fleets import node, resolved

NOBODY: frozenset[str] = frozenset()


def run(number: int, **options: Any) -> Run:
    base = resolved(runtime="shell", task="make").run(f"r-{number:03d}", number, "t", {})
    return replace(base, **options)


def queue_of(runs: list[Run]) -> WaitingRuns:
    queue = WaitingRuns()
    for one in runs:
        queue.note(one.id, one)
    return queue


wishes = st.fixed_dictionaries(
    {
        "priority": st.integers(-1, 1),
        "node": st.sampled_from([None, None, "a", "b", "nowhere"]),
        "require": st.sampled_from([{}, {}, {"gpu": "yes"}]),
        "attempt": st.sampled_from([1, 1, 2]),
        "created_ms": st.integers(0, 3),
    }
)


@given(st.lists(wishes, max_size=25), st.integers(0, 4), st.integers(0, 4))
def test_it_places_the_same_runs_on_the_same_nodes(asked: list[dict[str, Any]], a: int, b: int) -> None:
    runs = [run(n, **options) for n, options in enumerate(asked)]
    at = Standing((node("a"), replace_labels(node("b"), {"gpu": "yes"})), {"a": a, "b": b})
    by_id, queue, in_vain = {one.id: one for one in runs}, queue_of(runs), set[object]()
    turn = (by_id[one.ticket.run] for one in in_turn(queue.groups(lambda one: True, NOBODY), in_vain))
    placed = []
    for decision in decide_placements(turn, at, whole=True):
        if isinstance(decision, Placed):
            placed.append((decision.run.id, decision.node.node.name, decision.why))
        else:
            in_vain.add(queue.all[decision.run.id].wish)
    whole = [d for d in decide_placements(in_order(runs), at) if isinstance(d, Placed)]
    assert placed == [(d.run.id, d.node.node.name, d.why) for d in whole]


def replace_labels(view: Any, labels: dict[str, str]) -> Any:
    return replace(view, node=replace(view.node, labels=labels))


@given(st.lists(wishes, max_size=25))
def test_the_order_is_that_of_the_whole_list(asked: list[dict[str, Any]]) -> None:
    runs = [run(n, **options) for n, options in enumerate(asked)]
    queue = queue_of(runs)
    assert [one.ticket.run for one in queue.in_order(NOBODY)] == [one.id for one in in_order(runs)]
    served = in_turn(queue.groups(lambda one: True, NOBODY), set())
    assert [one.ticket.run for one in served] == [one.id for one in in_order(runs)]


def test_a_run_that_is_pending_no_more_is_gone() -> None:
    one = run(1)
    queue = queue_of([one, run(2)])
    queue.note(one.id, replace(one, state=RunState.RUNNING))
    queue.note("r-unknown", None)
    assert list(queue.all) == ["r-002"]
    queue.note(one.id, replace(one, priority=3))
    assert [w.ticket.run for w in queue.in_order(NOBODY)] == ["r-001", "r-002"]
    queue.note(one.id, None)
    assert list(queue.all) == ["r-002"]


def test_a_reason_is_no_change_of_what_is_shown() -> None:
    one = run(1)
    queue = queue_of([one])
    before = queue.changes
    queue.note(one.id, replace(one, reason="no slot", waits=WaitReason.NO_SLOT))
    assert queue.changes == before and queue.all[one.id].reason == "no slot"
    queue.note(one.id, replace(one, attempt=2))
    assert queue.changes == before + 1
