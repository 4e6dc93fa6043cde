"""Bugs of workflows, planted on purpose, one rule taken away each: the invariants see every one."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.budget import books
from pancode.kernel.ports import MergeConflictError
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.life.changes import Changes
from pancode.runs.unit_of_work import unit_of_work
from pancode.workflows import actions as asked
from pancode.workflows import rounds, step_start
from pancode.workflows import rules as advance
from pancode.workflows import store as rows
from pancode.workflows.advancing import Advancing
from pancode.workflows.model import sides_of
from pancode.workflows.records import WorkflowStepState
from pancode.workflows.step_work import StepWork
from tests.simulation.planted import Bug, Plant
from tests.simulation.trees import Trees


def _to(target: Any, name: str, value: Any) -> Plant:
    return lambda patch: patch.setattr(target, name, value)


def _any_winner(patch: pytest.MonkeyPatch) -> None:
    """A loser that has ended takes the winner's place."""
    decided = advance.decide_winner

    def again(workflow: Any, steps: Any, runs: Any) -> Any:
        if workflow.winner is None:
            return decided(workflow, steps, runs)
        ended = (WorkflowStepState.DONE, WorkflowStepState.STOPPED, WorkflowStepState.FAILED)
        losers = [one.name for one in steps.values() if one.name != workflow.winner and one.state in ended]
        return (replace(workflow, winner=losers[0]) if losers else workflow), ()

    patch.setattr(advance, "decide_winner", again)


def _free_of_charge(patch: pytest.MonkeyPatch) -> None:
    budget_scopes = Core.budget_scopes

    def without(core: Any, tx: Any, run: Any) -> Any:
        return [one for one in budget_scopes(core, tx, run) if not books.is_workflow(one.balance.scope)]

    patch.setattr(Core, "budget_scopes", without)


def _without_answers(step: Any, said: Any, results: Any, front: Any, has_files: Any) -> StepWork:
    return StepWork(f"do {step.name}", {})


def _all_again(steps: Any) -> set[str]:
    return set(steps)


def _keeps_no_name(patch: pytest.MonkeyPatch) -> None:
    """What was lost is run again beside the first one, which may still be at work."""
    judged = advance._judge_step

    def forgetful(view: Any, step: Any) -> Any:
        return replace(judged(view, step), lost=None)

    patch.setattr(advance, "_judge_step", forgetful)


def _one_parent(name: str, steps: Any, commits: Any) -> tuple[str, ...]:
    return _sides(name, steps, commits)[:1]


_sides = sides_of


def counts_first(patch: pytest.MonkeyPatch) -> None:
    """The round is counted in a transaction before the one that begins it: once more after a kill."""
    moved = Advancing._advance_workflow

    def counted(advancing: Any, workflow: str) -> Any:
        with unit_of_work(advancing._core) as work:
            for step in rows.steps_of(work.tx, workflow):
                read = step.state is WorkflowStepState.RUNNING and step.outputs.get("of") == step.run
                if read and not rounds.is_met(step):
                    work.tx.put(replace(step, round=step.round + 1))
        return moved(advancing, workflow)

    def begun(steps: Any, step: Any, now_ms: int) -> Any:
        if step.state is not WorkflowStepState.DONE or rounds.is_met(step) or step.round > step.most:
            return again(steps, replace(step, round=min(step.round, step.most)), now_ms)
        return rounds.restart_loop(steps, step, step.round)

    again = rounds.begun_again
    patch.setattr(Advancing, "_advance_workflow", counted)
    patch.setattr(rounds, "begun_again", begun)


def _half_of_a_conflict(patch: pytest.MonkeyPatch) -> None:
    """What does not go together begins from one side of it."""
    compose = Trees.compose

    def composed(trees: Trees, wanted: Any) -> Any:
        try:
            return compose(trees, wanted)
        except MergeConflictError:
            return compose(trees, replace(wanted, results=dict(list(wanted.results.items())[:1])))

    patch.setattr(Trees, "compose", composed)


def _is_judged(step: Any) -> bool:
    return bool(step.outputs.get("verdict")) and not rounds.is_met(step)


FLOW_BUGS = (
    Bug("a step begins before its needs", "flows", _to(advance, "_is_ready", lambda step, steps: True), 10),
    Bug("the end of a run advances nothing", "flows", _to(Changes, "advance", lambda made: made), 10),
    Bug("an answer is not handed on", "flows", _to(step_start, "step_work", _without_answers), 10),
    Bug("a race is won a second time", "flows", _any_winner, 25, 17),
    Bug("a workflow does not pay for its runs", "flows", _free_of_charge, 10),
    Bug("what is done is done again", "flows", _to(asked, "_to_begin", _all_again), 25, 5),
    Bug("more begin than there are places for", "flows", _to(advance, "is_active", lambda step: False), 20),
    Bug("a run that was lost is forgotten", "flows", _keeps_no_name, 25, 12),
    Bug("a merge forgets one parent", "flows", _to(step_start, "sides_of", _one_parent), 10),
    Bug("a conflict begins with one side", "flows", _half_of_a_conflict, 10),
    Bug("a round begins from nothing", "flows", _to(step_start, "begins_later_round", lambda *_: False), 10),
    Bug("what a stop left of a round is done again", "flows", _to(asked, "ran_out", _is_judged), 25, 88),
)
