"""Finds the runs that continue other runs: runs of a person, and runs of one step of a workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pancode.core.ports import Transaction
from pancode.core.records import Action, ActionKind, Run, RunState, WorkflowStep
from pancode.life.continuing import is_blocked, nexts

LONGEST = 100
"""The greatest number of runs of one chain that are followed."""


def before(tx: Transaction, run: Run) -> Iterator[Run]:
    """The runs that it goes on from, newest first."""
    for _ in range(LONGEST):
        old = run.terms.get("continues")
        found = tx.get(Run, old) if old is not None else None
        if found is None:
            return
        yield found
        run = found


def is_taken(tx: Transaction, old: Run) -> bool:
    """Whether its question is open, or the run that goes on from it works: it has one at a time."""
    if not is_blocked(old):
        return False
    newest = tx.get(Run, nexts(old)[-1]) if nexts(old) else None
    if newest is not None:
        return newest.state is not RunState.ENDED
    return any(action.kind is ActionKind.PERSON for action in tx.find(Action, {"run": old.id}))


def runs_of(tx: Transaction, steps: Iterable[WorkflowStep]) -> dict[str, Run]:
    """The newest run of each step, and those of the same step from whose question it goes on."""
    found = dict[str, Run]()
    for step in steps:
        newest = tx.get(Run, step.run) if step.run is not None else None
        if newest is not None:
            found[newest.id] = newest
            mine = (
                old for old in before(tx, newest) if (old.workflow, old.step) == (step.workflow, step.name)
            )
            found.update((old.id, old) for old in mine)
    return found
