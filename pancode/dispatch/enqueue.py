"""The last step of admission: the hold, the run and the end of what it replaces, in one commit."""

from __future__ import annotations

from pancode.control import continuations
from pancode.control.core import Core
from pancode.control.work import Work, unit_of_work
from pancode.core.records import Run
from pancode.core.values import replace
from pancode.life.signals import Admitted, AskedFirst, Continued, GivenUp
from pancode.workflow import rejoining


def enqueue(core: Core, run: Run) -> Run:
    """Queue an admitted run; RefusedError with the numbers when a ceiling has no room for its estimate."""
    with unit_of_work(core) as work:
        return admit(work, run)


def admission_of(work: Work, run: Run) -> Admitted | AskedFirst:
    """How the run begins: with its hold, or with a person's yes."""
    return AskedFirst() if "asks" in run.terms else Admitted(work.core.purses(work.tx, run))


def admit(work: Work, run: Run) -> Run:
    """The same inside a transaction. A refusal rolls it back, so nothing was given up.

    A run that goes on from the question of a workflow's step is that step's next run, and so is its retry.
    """
    tx, before = work.tx, run.terms.get("continues")
    old = tx.get(Run, before) if before is not None else None
    replaced = tx.get(Run, run.retry_of) if run.retry_of is not None else None
    step = rejoining.place_of(tx, old) if old is not None else None
    if replaced is not None and run.terms.get("in_step"):
        step = rejoining.must_take(tx, replaced)
    run = rejoining.placed(run, step, old or replaced) if step is not None else run
    admitted = work.signal(replace(run, epoch=work.core.epoch), admission_of(work, run))
    if replaced is not None:
        work.signal(replaced, GivenUp(run.id))
    if old is not None:
        sole = "answers" in run.terms or continuations.is_taken(tx, old)
        work.signal(old, Continued(run.id, run.created_by, sole, run.terms.get("program", "")))
    if step is not None:
        rejoining.taken(work, step, admitted)
    return admitted
