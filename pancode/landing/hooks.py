"""Adds the actions that follow when a run changes: its landing, a user's approval, and the check of its gates
on the unchanged tree."""

from __future__ import annotations

from operator import attrgetter

from node_agent.wire.failure import Outcome
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Run, RunState
from pancode.kernel.threads import BackgroundThread
from pancode.landing.gate_check import (
    GateChecks,
    check_new_gates,
    mark_failed_gates,
    note_results,
    wait_for_check,
)
from pancode.landing.queue import dismiss_run
from pancode.landing.rules import CalledOff, land_when_due, queue_landing
from pancode.runs.core import Core
from pancode.runs.extension import Hook
from pancode.runs.facts import LandingTerms
from pancode.runs.features import Features
from pancode.runs.follow_on_actions import FollowOn
from pancode.runs.life import waits
from pancode.runs.life.changes import Changes
from pancode.runs.life.conversation import has_change
from pancode.runs.life.ends import LandingDue, Stop
from pancode.runs.receipts.trust import is_open
from pancode.runs.retention.rules import FilesNeed
from pancode.runs.user_environment import Around
from pancode.runs.whole_changes import is_the_result


def follow_change(tx: Transaction, made: Changes) -> Changes:
    """Add the follow-up actions for a run that has just ended, or is stopped or to land after its end."""
    if made.before.run.state is RunState.ENDED:
        for one in made.signals:
            made = CalledOff(one.reason).apply(made) if isinstance(one, Stop) else made
            is_due = isinstance(one, LandingDue) and made.run.land and not made.before.run.land
            made = land_when_due(made) if is_due else made
    if not made.ended:
        return made
    if made.run.result.get("receipt") is None:  # the run was settled without a receipt, so it has no change
        return made
    if needs_approval(made.run):
        made = waits.open_question(made)
    return queue_landing(made)


def needs_approval(run: Run) -> bool:
    """Whether a user must approve the change of a run that has just ended: its agent may not land it."""
    is_asked = run.landed is None and bool(LandingTerms.of(run).autonomy)
    return run.outcome is Outcome.DONE and has_change(run) and is_asked


def find_need(core: Core, tx: Transaction, run: Run) -> FilesNeed | None:
    """Return why the run's files must be kept (change not landed or decided on yet); None if not needed."""
    if any(one.kind is ActionKind.LAND for one in tx.find(Action, {"run": run.id})):
        return FilesNeed.LANDING
    decided = not is_open(run, run.project or "") or not is_the_result(core, tx, run)
    return None if decided else FilesNeed.DECISION


def make_threads(core: Core, around: Around) -> tuple[BackgroundThread, ...]:
    """Make the thread that has gates checked on unchanged trees."""
    return (FollowOn(core, {ActionKind.CHECK_GATES: GateChecks(core)}),)


FEATURE = Features(
    join=(Hook(attrgetter("run.gates"), wait_for_check),),
    changed=(
        Hook(attrgetter("is_at_end"), follow_change),
        Hook(attrgetter("is_at_end"), mark_failed_gates),
        Hook(attrgetter("placed"), check_new_gates),
    ),
    accepted=(Hook(attrgetter("gates"), note_results),),
    needs=(find_need,),
    dismiss=(dismiss_run,),
    threads=(make_threads,),
)
