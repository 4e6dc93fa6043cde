"""Any workflow, however its runs end: no step before its needs, one winner at most, and always an end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.workflows.model import find_ancestors
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.rules import Advance, WorkflowView, advance
from tests.unit.pancode.runs.world import a_run

VERDICT: dict[str, Any] = {"file": "v.json", "schema": {"v": ["yes", "no"]}}
UNTIL: dict[str, Any] = {"field": "v", "equals": "yes"}
ENDS = (Outcome.DONE, Outcome.DONE, Outcome.DONE, Outcome.ERROR, Outcome.LOST, Outcome.TIMEOUT)


@st.composite
def workflows(draw: st.DrawFn) -> tuple[Workflow, tuple[WorkflowStep, ...]]:
    ending = [kind for kind in WorkflowKind if kind is not WorkflowKind.LANE]
    kind, count = draw(st.sampled_from(ending)), draw(st.integers(1, 7))
    alone = kind in (WorkflowKind.BATCH, WorkflowKind.RACE)
    steps: list[WorkflowStep] = []
    for number in range(count):
        before = [f"s{n}" for n in range(number)]
        needs = (
            () if alone or not before else draw(st.lists(st.sampled_from(before), unique=True, max_size=3))
        )
        step = WorkflowStep("w-1", number, f"s{number}", tuple(needs), {})
        if not alone and draw(st.integers(0, 3)) == 0:
            known = sorted(find_ancestors(step.name, (*steps, step)))
            back_to = draw(st.sampled_from([None, *known]))
            step = replace(step, verdict=VERDICT, until=UNTIL, most=draw(st.integers(1, 3)), back_to=back_to)
        steps.append(step)
    race: dict[str, Any] = (
        {"by": draw(st.sampled_from(["first", "smallest"]))} if kind is WorkflowKind.RACE else {}
    )
    made = Workflow("w-1", 0, "ana", kind, "any", "", None, race=race)
    concurrency = draw(st.none() | st.integers(1, 3))
    stagger = draw(st.sampled_from([0, 0, 50]))
    fail_fast = draw(st.booleans())
    return replace(made, concurrency=concurrency, stagger_ms=stagger, fail_fast=fail_fast), tuple(steps)


class Played:
    """What the coordinator does with each advance, without a ledger."""

    def __init__(self, workflow: Workflow, steps: tuple[WorkflowStep, ...], data: st.DataObject) -> None:
        self.workflow, self.data, self.now, self.count = workflow, data, 1, 0
        self.steps = {step.name: step for step in steps}
        self.runs: dict[str, Run] = {}
        self.winners: set[str] = set()

    def look(self) -> Advance:
        view = WorkflowView(self.workflow, tuple(self.steps.values()), self.runs, self.now)
        made = advance(view)
        assert advance(view) == made
        self.workflow, self.steps = made.workflow, {step.name: step for step in made.steps}
        self.winners |= set(filter(None, [made.workflow.winner]))
        return made

    def settled(self) -> None:
        """Looks until nothing is left to do now."""
        while True:
            made = self.look()
            for run, why in made.stop:
                self.runs[run] = replace(self.runs[run], stop_asked=why)
            for name in made.start:
                self._start(name)
            for name in (*made.collect, *made.measure):
                self._read(name, name in made.measure)
            if not (made.start or made.collect or made.measure):
                return

    def _start(self, name: str) -> None:
        step = self.steps[name]
        assert step.state is WorkflowStepState.WAITING and step.run is None
        assert all(self.steps[need].state is WorkflowStepState.DONE for need in step.needs), (
            "before its needs"
        )
        assert self.workflow.winner is None and self.workflow.stop_asked is None
        self.count += 1
        run = a_run(f"r-{self.count:04}", 0, Decimal(0), workflow="w-1", step=name)
        self.runs[run.id] = run
        state = WorkflowStepState.RUNNING
        self.steps[name] = replace(step, state=state, run=run.id, runs=(*step.runs, run.id))
        active = [one for one in self.steps.values() if one.state is WorkflowStepState.RUNNING]
        assert len(active) <= (self.workflow.concurrency or len(self.steps))

    def _read(self, name: str, measured: bool) -> None:
        step = self.steps[name]
        if measured:
            number = str(self.data.draw(st.integers(0, 3)))
            self.steps[name] = replace(step, outputs={**step.outputs, "score": number})
            return
        verdict: dict[str, Any] = {"v": self.data.draw(st.sampled_from(["yes", "no"]))}
        self.steps[name] = replace(step, outputs={"of": step.run, "verdict": verdict})

    def ends(self) -> list[Run]:
        return [run for run in self.runs.values() if run.state is not RunState.ENDED]

    def end(self, run: Run) -> None:
        outcome = self.data.draw(st.sampled_from(ENDS))
        self.now += 100
        done: dict[str, Any] = {
            "state": RunState.ENDED,
            "outcome": outcome,
            "reason": "so",
            "finished_ms": self.now,
        }
        self.runs[run.id] = replace(run, **done)


@settings(max_examples=300)
@given(workflows(), st.data())
def test_no_step_before_its_needs_one_winner_and_always_an_end(
    asked: tuple[Workflow, tuple[WorkflowStep, ...]], data: st.DataObject
) -> None:
    played = Played(*asked, data)
    stop_at = data.draw(st.none() | st.integers(0, 5))
    for turn in range(200):
        if turn == stop_at and played.workflow.state is WorkflowState.RUNNING:
            played.workflow = replace(played.workflow, state=WorkflowState.STOPPING, stop_asked="enough")
        played.now += 50
        played.settled()
        left = played.ends()
        if not left and played.workflow.finished_ms is not None:
            break
        if left:
            played.end(data.draw(st.sampled_from(left)))
    assert played.workflow.finished_ms is not None, "it has no end"
    assert all(step.state.is_over for step in played.steps.values())
    assert len(played.winners) <= 1 and played.winners == set(filter(None, [played.workflow.winner]))
    for name in played.winners:
        won = played.runs[str(played.steps[name].run)]
        assert won.outcome is Outcome.DONE
    before = played.workflow
    assert played.look().workflow == before, "an end is an end"
    assert all(step.round <= 3 for step in played.steps.values())
