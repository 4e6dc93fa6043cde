"""A lane, step by step: which item begins, what stops it, when an item is done; and any order of acts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.workflows import lane_rules
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.workflows.rules import Advance, WorkflowView, advance
from tests.unit.pancode.runs.world import a_run

LANE = Workflow("w-1", 0, "ana", WorkflowKind.LANE, "night", "", None, concurrency=1, lane={"goes_on": False})
GATE: dict[str, Any] = {"name": "pytest", "argv": ["pytest"], "passed": True}
RUNNING, WAITING, DONE = WorkflowStepState.RUNNING, WorkflowStepState.WAITING, WorkflowStepState.DONE


def item(number: int, state: WorkflowStepState = WAITING, **more: Any) -> WorkflowStep:
    place = {"place": number, "by": "ana", **more.pop("item", {})}
    begun: dict[str, Any] = {} if state is WAITING else {"run": f"r-{number}", "runs": (f"r-{number}",)}
    return replace(WorkflowStep("w-1", number, f"{number}", (), {}), state=state, item=place, **begun, **more)


def done(number: int, **result: Any) -> Run:
    run = a_run(f"r-{number}", 0, Decimal(0), workflow="w-1", step=f"{number}")
    facts: dict[str, Any] = {"node": "n1", "gates": [GATE], **result}
    return replace(run, gates=(GATE,), state=RunState.ENDED, outcome=Outcome.DONE, result=facts)


def look(*steps: WorkflowStep, run: Run | None = None, **about: Any) -> Advance:
    runs = {} if run is None else {run.id: run}
    return advance(
        WorkflowView(replace(LANE, **about), tuple(sorted(steps, key=lane_rules.make_sort_key)), runs, 10)
    )


def states(made: Advance) -> dict[str, str]:
    return {step.name: step.state.value for step in made.steps}


def test_the_next_item_waits_until_the_change_of_the_one_before_is_landed() -> None:
    lands = replace(done(1, commit="c" * 40), land=True)
    assert look(item(1, RUNNING), item(2), run=lands).start == ()
    landed = replace(lands, landing={"status": "landed", "why": ""})
    assert look(item(1, RUNNING), item(2), run=landed).start == ("2",)


def test_a_question_holds_all_that_stand_behind_it_or_before_it() -> None:
    asks = replace(done(2), outcome=Outcome.BLOCKED)
    view = WorkflowView(LANE, (item(1), item(2, RUNNING)), {"r-2": asks}, 10, frozenset({"r-2"}))
    made = advance(view)
    assert states(made)["2"] == "waiting" and made.start == ()


def test_an_empty_lane_stays_open_and_a_removed_one_ends() -> None:
    assert not look().ended and not look(item(1, DONE)).ended
    made = look(item(1), stop_asked="lane removed by ana")
    assert made.ended and states(made) == {"1": "stopped"}


@settings(max_examples=200)
@given(st.lists(st.integers(0, 9), max_size=25), st.integers(0, 2))
def test_whatever_is_added_each_item_has_one_place(priorities: list[int], begun: int) -> None:
    """What has begun keeps its place, and who is more urgent is never added behind who is less."""
    steps = [item(number, DONE) for number in range(1, begun + 1)]
    for priority in priorities:
        place, later = lane_rules.insert_item(steps, priority)
        fresh = max((one.number for one in steps), default=0) + 1
        changed = (*later, item(fresh, item={"place": place, "priority": priority}))
        by_name = {one.name: one for one in (*steps, *changed)}
        assert len(by_name) == len(steps) + 1
        steps = sorted(by_name.values(), key=lane_rules.make_sort_key)
        assert len({lane_rules.make_sort_key(one)[0] for one in steps}) == len(steps)
        assert all(one.state.is_over for one in steps[:begun])
    waiting = [int(str(one.item["priority"])) for one in steps[begun:]]
    assert waiting == sorted(waiting, reverse=True)
