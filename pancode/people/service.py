"""The inbox: answers, approves and denies what waits for a user."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.kernel.errors import RefusedError
from pancode.kernel.records import Action, Run, Setting
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched
from pancode.runs.life.approvals import Approved, Declined
from pancode.runs.life.changes import Signal
from pancode.runs.life.conversation import is_cut_by_cap, must_be_free
from pancode.runs.life.inbox import (
    BEFORE_START,
    ItemKind,
    answer_of,
    format_answer,
    kind_of,
    must_be_seen,
    must_be_shown,
    must_wait,
    open_item,
)
from pancode.runs.life.waits import ToldByUser
from pancode.runs.run_continuation import continue_run, go_on
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import load_run

_ASKING = (ItemKind.QUESTION, ItemKind.PERMISSION)
PERMITTED = {
    False: "Yes, this once. Ask again before anything else of this kind.",
    True: "Yes, and so is everything of the same kind in the rest of this work.",
}
"""The reply to an agent when a user approves something; key True: also for the rest of its work."""


def answer_run(
    core: Core,
    around: Surroundings,
    run: Run,
    reply: str,
    by: str,
    program: str = "",
    inside: Run | None = None,
) -> Dispatched:
    """Continue a blocked run with the answer. UsageError; RefusedError if the run was already answered.
    `program`: the program that answers; empty: a user answers. `inside`: the run that sends the answer."""
    must_be_free(run)
    must_wait(run, _find_item(core, run), *_ASKING)
    words = answer_of(run, reply)
    return continue_run(core, around, run, format_answer(run, words, program), inside or by, words, program)


def must_be_approvable(core: Core, run: Run, flags: Iterable[str]) -> None:
    """Raise UsageError if the run waits for no approval, RefusedError if it needs other approval flags."""
    must_wait(run, _find_item(core, run), ItemKind.LANDING)
    must_be_shown(run, flags)


def may_start(core: Core, run: Run) -> bool:
    """Whether the run waits for approval before it begins, so that an approval starts it."""
    return _find_item(core, run) is not None and kind_of(run) in BEFORE_START


def approve_start(core: Core, run_id: str, by: str, whole: bool, plan: str = "") -> Run:
    """Approve the start of a run. UsageError if the run does not wait; RefusedError if it cannot start now.

    `plan`: the digest of the plan that the user has seen; RefusedError if the plan has changed, or if the run
    now waits for something else.
    """
    with unit_of_work(core) as work:
        run, draining = load_run(work.tx, run_id), work.tx.get(Setting, "draining")
        must_be_seen(run, open_item(tuple(work.tx.find(Action, {"run": run_id}))), plan)
        if draining is not None:
            raise RefusedError(
                f"{run_id} was not started: the fleet accepts no new work: {draining.value}",
                why="the run is still waiting",
                fix="pancode fleet resume, then approve it again",
                code="refused_drain",
            )
        return work.signal(run, Approved(by, whole, core.budget_scopes(work.tx, run)))


def permit_run(core: Core, around: Surroundings, run: Run, by: str, whole: bool) -> Dispatched:
    """Continue a run that ended because it needed a permission, which the user now gives. A session that
    ended at its budget ceiling continues with a ceiling raised by the required amount."""
    must_be_free(run)
    must_wait(run, _find_item(core, run), ItemKind.PERMISSION)
    if is_cut_by_cap(run):
        return go_on(core, around, run, by, past_cap=True)
    words = PERMITTED[whole]
    return continue_run(core, around, run, format_answer(run, words), by, answers=words)


def still_waits(core: Core, run: Run) -> bool:
    """Whether the run's inbox item still waits: it was not answered, approved or denied."""
    return _find_item(core, run) is not None


def deny_run(core: Core, run_id: str, by: str) -> Run:
    """Deny the run's inbox item; nothing is started, continued or landed. UsageError if nothing waits."""
    return signal_run(core, run_id, Declined(by))


def waits_for_call(core: Core, run: Run) -> bool:
    """Whether a tool call of the working agent waits for a user."""
    return _find_item(core, run) is not None and kind_of(run) is ItemKind.CALL


def leave_message(core: Core, run_id: str, text: str, by: str) -> Run:
    """Store a message for the run's start or continuation. UsageError if the run accepts no messages."""
    return signal_run(core, run_id, ToldByUser(text, by))


def signal_run(core: Core, run_id: str, signal: Signal) -> Run:
    """Apply what a user has decided or said. UsageError if nothing waits, RefusedError if another waits."""
    with unit_of_work(core) as work:
        return work.signal(load_run(work.tx, run_id), signal)


def _find_item(core: Core, run: Run) -> Action | None:
    with core.ports.ledger.transaction() as tx:
        return open_item(tuple(tx.find(Action, {"run": run.id})))
