"""Bugs of workflows, planted on purpose, one rule taken away each: the invariants see every one."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.control.core import Core
from pancode.control.workflow import asked, preparing
from pancode.domain import books
from pancode.domain.life.changes import Changes
from pancode.domain.records import WorkflowStepState
from pancode.domain.values import replace
from pancode.domain.workflow import advance, race
from pancode.domain.workflow.handing import HandedWork
from tests.simulation.planted import Bug, Plant


def _to(target: Any, name: str, value: Any) -> Plant:
    return lambda patch: patch.setattr(target, name, value)


def _any_winner(patch: pytest.MonkeyPatch) -> None:
    decided = race.decided

    def again(workflow: Any, steps: Any, runs: Any) -> Any:
        newest = dict(reversed(list(steps.items())))
        made, measure = decided(replace(workflow, winner=None), newest, runs)
        others = [s.name for s in newest.values() if s.state is WorkflowStepState.DONE]
        return (replace(made, winner=others[0]) if workflow.race and others else made), measure

    patch.setattr(race, "decided", again)


def _free_of_charge(patch: pytest.MonkeyPatch) -> None:
    purses = Core.purses

    def without(core: Any, tx: Any, run: Any) -> Any:
        return [one for one in purses(core, tx, run) if not books.is_workflow(one.balance.scope)]

    patch.setattr(Core, "purses", without)


def _without_answers(step: Any, said: Any, results: Any, front: Any, has_files: Any) -> HandedWork:
    return HandedWork(f"do {step.name}", {})


def _all_again(steps: Any) -> set[str]:
    return set(steps)


def _under_another_id(step: Any, run: str) -> bool:
    return step is not None


def _keeps_no_name(patch: pytest.MonkeyPatch) -> None:
    """What was lost is run again beside the first one, which may still be at work."""
    judged = advance._judged

    def forgetful(view: Any, step: Any) -> Any:
        return replace(judged(view, step), lost=None)

    patch.setattr(advance, "_judged", forgetful)


FLOW_BUGS = (
    Bug("a step begins before its needs", "flows", _to(advance, "_is_ready", lambda step, steps: True), 10),
    Bug("the end of a run advances nothing", "flows", _to(Changes, "advance", lambda made: made), 10),
    Bug("an answer is not handed on", "flows", _to(preparing, "handed", _without_answers), 10),
    Bug("a race is won a second time", "flows", _any_winner, 40),
    Bug("a workflow does not pay for its runs", "flows", _free_of_charge, 10),
    Bug("what is done is done again", "flows", _to(asked, "_to_begin", _all_again), 40),
    Bug("more begin than there are places for", "flows", _to(advance, "is_active", lambda step: False), 20),
    Bug("a run that was lost is forgotten", "flows", _keeps_no_name, 80),
)
