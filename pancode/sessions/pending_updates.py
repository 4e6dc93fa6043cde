"""Stores runs whose results an orchestrator's session has not been sent yet: one action per session."""

from __future__ import annotations

from collections.abc import Collection

from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Run
from pancode.kernel.values import replace
from pancode.runs.life.changes import Changes
from pancode.runs.life.conversation import is_orchestrator, payer_of
from pancode.runs.life.inbox import ItemKind, kind_of

PAUSE_MS = 3_000
"""Runs that end within this many milliseconds after the first unreported one are reported with it."""


def find_pending(tx: Transaction, session: str) -> Action | None:
    return tx.get(Action, f"{ActionKind.TELL}:{session}")


def runs_of(action: Action) -> list[str]:
    """Return the runs of a pending update, in the order of their events."""
    found = action.detail["runs"]
    return [str(one) for one in found] if isinstance(found, list | tuple) else []


def add_update(tx: Transaction, made: Changes) -> Changes:
    """Record that a session must be notified of a run that has just ended or waits for a user."""
    owed = update_with(tx, made)
    if owed is not None:
        tx.put(owed)  # The session's row may already exist.
    return made


def update_with(tx: Transaction, made: Changes) -> Action | None:
    """Return the session's pending update with this run added; None if no session must be notified."""
    run, action = made.run, made.case.action(ActionKind.USER)
    is_new = action is not None and action != made.before.action(ActionKind.USER)
    if is_new and kind_of(run) is ItemKind.LANDING:  # A waiting change is reported when the run ends.
        is_new = False
    if run.parent is None or run.judges is not None or not (made.ended or is_new):
        return None
    above = tx.get(Run, run.parent)
    if above is None or not is_orchestrator(above):
        return None
    session = payer_of(above)
    known = find_pending(tx, session)
    runs = [] if known is None else runs_of(known)
    due = made.now.ms + PAUSE_MS if known is None else known.at_ms
    listed = {"runs": list(dict.fromkeys((*runs, run.id)))}
    return Action(f"{ActionKind.TELL}:{session}", ActionKind.TELL, session, due, run.created_by, {**listed})


def mark_seen(tx: Transaction, session: str, runs: Collection[str]) -> None:
    """Record that the agent has seen how these runs ended, so that it is not notified of them. Idempotent."""
    known = find_pending(tx, session) if runs else None
    left = [] if known is None else [one for one in runs_of(known) if one not in runs]
    if known is not None and left:
        tx.put(replace(known, detail={"runs": left}))
    elif known is not None:
        tx.delete(Action, known.id)
