"""What follows from a question of a step: who waits, what happens, and when nobody is asked any more."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.errors import RefusedError
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.runs.life.conversation import NEXT
from pancode.workflows.questions import (
    asks_again,
    is_next_run,
    mark_waiting,
    reopen_question,
    waits_for_users_only,
    with_next_run,
)
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.rules import Advance, WorkflowView, advance
from tests.unit.pancode.workflows.test_rules import run, states, step

RUNNING, FAILED = WorkflowStepState.RUNNING, WorkflowStepState.FAILED
ASKED = frozenset({"r-a"})


def blocked(name: str = "a") -> Run:
    reason, kind = "it asks: Which port?", FailureKind.NEEDS_USER
    return run(name, state=RunState.ENDED, outcome=Outcome.BLOCKED, failure=kind, reason=reason)


def works(number: int, name: str, *needs: str, **more: Any) -> WorkflowStep:
    return step(number, name, *needs, state=RUNNING, run=f"r-{name}", runs=(f"r-{name}",), **more)


def looked(*steps: WorkflowStep, runs: list[Run], asked: frozenset[str] = ASKED, **more: Any) -> Advance:
    workflow = replace(Workflow("w-1", 0, "ana", WorkflowKind.GRAPH, "any", "", None), **more)
    return advance(WorkflowView(workflow, steps, {one.id: one for one in runs}, 1, asked))


def test_a_question_keeps_the_workflow_open_and_what_needs_it_waits() -> None:
    made = looked(works(0, "a"), step(1, "b", "a"), step(2, "c"), runs=[blocked()])
    assert states(made) == {"a": "waiting", "b": "waiting", "c": "waiting"}
    assert made.start == ("c",) and not made.ended and not made.release and not made.unasked
    reason = made.steps[0].reason
    assert reason == 'waits for a user: it asks: Which port? (pancode answer r-a "...")'
    again = looked(*made.steps, runs=[blocked()])
    assert not again.changed and not again.release, "a second look finds nothing new"


def test_it_takes_no_place() -> None:
    made = looked(works(0, "a"), step(1, "b"), runs=[blocked()], concurrency=1)
    assert made.start == ("b",)


def test_without_the_question_the_step_has_failed() -> None:
    made = looked(works(0, "a"), step(1, "b", "a"), runs=[blocked()], asked=frozenset())
    assert states(made) == {"a": "failed", "b": "skipped"}
    assert made.workflow.state is WorkflowState.FAILED and made.workflow.reason.startswith(
        "a: blocked: it asks"
    )


@pytest.mark.parametrize(
    ("more", "other", "why"),
    [
        ({"stop_asked": "enough", "state": WorkflowState.STOPPING}, WorkflowStepState.DONE, "enough"),
        ({}, FAILED, "step b did not succeed"),
        ({"kind": WorkflowKind.BATCH, "fail_fast": True}, FAILED, "step b did not succeed"),
        (
            {"kind": WorkflowKind.RACE, "race": {"by": "first"}, "winner": "b"},
            WorkflowStepState.DONE,
            "b won the race",
        ),
    ],
)
def test_what_begins_nothing_more_asks_nobody(
    more: dict[str, Any], other: WorkflowStepState, why: str
) -> None:
    made = looked(works(0, "a"), step(1, "b", state=other), runs=[blocked()], **more)
    assert states(made)["a"] == "stopped" and made.ended
    assert made.unasked == (("r-a", why),) and made.stop == ()


def test_a_batch_goes_on_and_waits_for_it() -> None:
    made = looked(works(0, "a"), step(1, "b", state=FAILED), runs=[blocked()], kind=WorkflowKind.BATCH)
    assert states(made)["a"] == "waiting" and not made.ended and not made.unasked


def test_the_next_run_waits_for_its_place_and_is_released() -> None:
    asking = looked(works(0, "a"), runs=[blocked()]).steps[0]
    next_ = run("a2", state=RunState.PENDING)
    assert asking.runs == ("r-a",)
    made = looked(with_next_run(asking, "r-a2"), runs=[next_], asked=frozenset())
    assert (made.release, made.steps[0].state, made.steps[0].runs) == (("r-a2",), RUNNING, ("r-a", "r-a2"))


def test_only_the_run_that_asks_for_the_step_is_continued_in_its_workflow() -> None:
    workflow = Workflow("w-1", 0, "ana", WorkflowKind.GRAPH, "any", "", None)
    asking = looked(works(0, "a"), runs=[blocked()]).steps[0]
    assert is_next_run(workflow, asking, blocked())
    assert not is_next_run(workflow, with_next_run(asking, "r-a2"), blocked()), "it was answered"
    assert is_next_run(workflow, works(0, "a"), blocked()), "the workflow has not looked at its end yet"
    assert with_next_run(works(0, "a"), "r-a2").state is WorkflowStepState.WAITING
    assert not is_next_run(workflow, asking, replace(blocked(), outcome=Outcome.DONE))
    assert not is_next_run(replace(workflow, state=WorkflowState.FAILED), asking, blocked())
    stopping = replace(workflow, state=WorkflowState.STOPPING, stop_asked="enough")
    with pytest.raises(RefusedError, match="is stopping"):
        is_next_run(stopping, asking, blocked())


@pytest.mark.parametrize(
    ("state", "is_open", "result", "again"),
    [
        (WorkflowStepState.STOPPED, False, {}, True),
        (FAILED, True, {}, True),
        (FAILED, False, {}, False),
        (WorkflowStepState.STOPPED, False, {NEXT: ["r-9"]}, False),
    ],
)
def test_a_resumed_step_asks_again_unless_somebody_has_said_something(
    state: WorkflowStepState, is_open: bool, result: dict[str, Any], again: bool
) -> None:
    ended = replace(works(0, "a"), state=state)
    assert asks_again(ended, replace(blocked(), result=result), is_open) is again
    assert not asks_again(ended, None, is_open)
    assert not asks_again(ended, run("a", state=RunState.ENDED, outcome=Outcome.ERROR), is_open)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_question_is_open_again_where_its_answer_came_to_nothing(outcome: Outcome) -> None:
    ended = replace(works(0, "a"), state=WorkflowStepState.STOPPED, run="r-a2")
    old = replace(blocked(), workflow="w-1", step="a", result={NEXT: ["r-a2"], "commit": "c"})
    next_ = run("a2", state=RunState.ENDED, outcome=outcome, terms={"answers": "y" * 300})
    found = reopen_question(ended, next_, old)
    if outcome in (Outcome.DONE, Outcome.BLOCKED):
        assert found is None
        return
    assert found is not None and found.result == {"commit": "c", "answered": "y" * 300}
    assert f"(the answer before was: {'y' * 200} ...; pancode" in mark_waiting(ended, found).reason
    assert reopen_question(ended, replace(next_, state=RunState.RUNNING), old) is None
    assert reopen_question(ended, next_, None) is None
    for other in ({"step": "b"}, {"workflow": None}, {"outcome": Outcome.DONE}):
        assert reopen_question(ended, next_, replace(old, **other)) is None
    both = replace(old, result={NEXT: ["r-a2", "r-9"]})
    assert reopen_question(ended, next_, both) is None, "somebody continues from it elsewhere"


@pytest.mark.parametrize(
    ("others", "waits"),
    [
        ((), True),
        ((step(1, "b", "a"), step(2, "c", "b")), True),
        ((works(1, "b"),), False),
        ((step(1, "b"),), False),
        ((step(1, "b", state=WorkflowStepState.DONE), step(2, "c", "b")), False),
    ],
)
def test_it_waits_for_users_alone_when_nothing_else_can_go_on(
    others: tuple[WorkflowStep, ...], waits: bool
) -> None:
    asking = looked(works(0, "a"), runs=[blocked()]).steps[0]
    assert waits_for_users_only((asking, *others), ASKED) is waits
    assert not waits_for_users_only((asking, *others), frozenset())
