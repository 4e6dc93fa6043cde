"""Configuration changes that a model proposes, as inbox items that only a user can approve."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from node_agent.wire.policy import Mode
from pancode.config import changes
from pancode.config.records import ConfigProposal
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EventKind, Run
from pancode.kernel.values import replace
from pancode.runs.core import Core, hold_lock
from pancode.runs.life.changes import Happened
from pancode.runs.life.inbox import InboxItem, ItemKind
from pancode.runs.unit_of_work import unit_of_work

PREFIX = "c-"
"""The prefix of a proposed change's id, which the inbox shows instead of a run."""
MOST_OPEN, MOST_OF_A_RUN = 20, 5
MAY_PROPOSE: Mapping[Mode, Collection[changes.ChangeKind]] = {
    Mode.ADMIN: tuple(kind for kind in changes.ChangeKind if kind is not changes.ChangeKind.AGENTS_FILE),
    Mode.BUILD: (changes.ChangeKind.BUDGET, changes.ChangeKind.PRESET, changes.ChangeKind.SESSION),
    Mode.PLAN: (),
    Mode.REVIEW: (),
}
"""The kinds of change that a run of each mode may propose."""


@hold_lock
def propose_change(
    core: Core, makers: changes.ChangeMakers, change: changes.AskedChange, why: str, by: str, run: Run | None
) -> dict[str, Any]:
    """Store the change for approval by a user; return it with its id. Raises RefusedError, or an error of the
    change's kind. `run`: the run that proposes it. A change that already waits is not added again."""
    if change.kind is changes.ChangeKind.AGENTS_FILE:
        why = "this kind of change only undoes an earlier change of an agent"
        raise UsageError(f"{change.kind} cannot be proposed", why=why, code="bad_value")
    if change.kind is changes.ChangeKind.SESSION:
        if run is None or not run.takes_turns:
            why = "a session can propose this change only for itself; a user sets it directly"
            fix = "pancode sessions"
            raise UsageError("only a session can propose this change", why=why, fix=fix, code="bad_value")
        change = replace(change, target=f"{run.session}.{change.target}")
    if run is not None and change.kind not in MAY_PROPOSE[run.mode]:
        with unit_of_work(core) as work:
            act = f"to propose a change of {change.kind}: {change.target}"
            work.audit("trust", "warning", "refused from inside a run", run.id, asked=act)
        raise RefusedError(
            f"mode {run.mode} cannot propose this change: {change.kind}",
            why=f"it may propose {', '.join(MAY_PROPOSE[run.mode]) or 'none'}",
            fix="ask your user to make the change",
            code="mode",
        )
    effect = makers[change.kind].look(change)
    with unit_of_work(core) as work:
        rows = _list_waiting(work.tx)
        known = next((row for row in rows if _change_of(row) == change), None)
        row = known or _make_row(core, effect, why, by if run is None else f"{run.agent} in {run.id}", run)
        if known is None:
            _must_have_room(rows, run)
            work.tx.put(row)
            item = _make_item(row)
            detail = {"kind": change.kind.value, "target": change.target, "value": change.value}
            work.audit("config", "info", "change proposed", row.run, by=row.by, change=row.id, **detail)
            data: dict[str, object] = {"kind": item.kind.value, "words": item.words, "command": item.command}
            work.happened(Happened(EventKind.INBOX_ITEM, row.run, None, {**data, "by": row.by}))
    return {**effect.shape(), "id": row.id}


@hold_lock
def approve_change(core: Core, makers: changes.ChangeMakers, name: str, by: str) -> changes.ChangeEffect:
    """Make the change with this id. NotFoundError; RefusedError if its effect differs by now. After an error,
    the change still waits."""
    with core.ports.ledger.transaction() as tx:
        row = _find_proposal(tx, name)
    change = _change_of(row)
    now = makers[change.kind].look(change)
    if (now.old.value, now.new.value, list(now.notes)) != (row.old, row.new, row.notes):
        raise RefusedError(
            f"the effect of {name} changed in the meantime",
            why=f"it was {row.old} -> {row.new}, and now is {now.old.value} -> {now.new.value}",
            fix=f"pancode deny {name}, and propose the change again",
            code="changed",
        )
    effect = changes.make_change(core, makers, change, by)
    _close(core, row, by, "change approved")
    return effect


@hold_lock
def deny_change(core: Core, name: str, by: str) -> tuple[str | None, str]:
    """Deny the change; return its run (None: no run proposed it) and its description. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        row = _find_proposal(tx, name)
    _close(core, row, by, "change denied")
    return row.run, _in_words(row)


def list_proposed(tx: Transaction) -> list[InboxItem]:
    """Return all proposed changes that wait, oldest first."""
    return [_make_item(row) for row in _list_waiting(tx)]


def proposed_by(tx: Transaction, runs: Collection[str]) -> InboxItem | None:
    """Return the oldest waiting change that one of these runs proposed, or None."""
    return next((_make_item(row) for row in _list_waiting(tx) if row.run in runs), None)


def _make_row(core: Core, effect: changes.ChangeEffect, why: str, by: str, run: Run | None) -> ConfigProposal:
    change = effect.change
    return ConfigProposal(
        id=f"{PREFIX}{core.ports.ids.short(6)}",
        at_ms=core.wall_ms(),
        kind=change.kind.value,
        target=change.target,
        value=change.value,
        old=effect.old.value,
        new=effect.new.value,
        notes=list(effect.notes),
        why=why,
        by=by,
        run=None if run is None else run.id,
    )


def _change_of(row: ConfigProposal) -> changes.AskedChange:
    return changes.AskedChange(changes.ChangeKind(row.kind), row.target, row.value)


def _make_item(row: ConfigProposal) -> InboxItem:
    """Return a proposal's inbox item: the exact change, then the proposer's text, which cannot imitate it."""
    hidden = row.kind == changes.ChangeKind.SETTING and row.value not in (None, row.new)
    written = f" (settings.json will contain {row.value})" if hidden else ""
    what = f"{_in_words(row)}{written}"
    notes = "".join(f"; {note}" for note in row.notes)
    why = f"; requested by {row.by}" + (f', who says: "{row.why}"' if row.why else "")
    words, command = f"{what}{notes}{why}", f"pancode approve {row.id}"
    return InboxItem(row.id, row.id, row.at_ms, ItemKind.CHANGE, words, (), command)


def _in_words(row: ConfigProposal) -> str:
    return f"{row.kind} {row.target}: {row.old} -> {row.new}"


def _must_have_room(rows: list[ConfigProposal], run: Run | None) -> None:
    own = sum(1 for row in rows if run is not None and row.run == run.id)
    if len(rows) >= MOST_OPEN or own >= MOST_OF_A_RUN:
        raise RefusedError(
            "too many changes are already waiting for approval",
            why=f"{len(rows)} changes are waiting, {own} of them from this run",
            fix="pancode inbox",
            code="too_many",
        )


def _close(core: Core, row: ConfigProposal, by: str, what: str) -> None:
    with unit_of_work(core) as work:
        work.tx.delete(ConfigProposal, row.id)
        detail = {"kind": row.kind, "target": row.target, "asked_by": row.by}
        work.audit("config", "info", what, row.run, by=by, change=row.id, **detail)
        work.happened(Happened(EventKind.INBOX_ANSWERED, row.run))


def _list_waiting(tx: Transaction) -> list[ConfigProposal]:
    return tx.find(ConfigProposal, order="at_ms")


def _find_proposal(tx: Transaction, name: str) -> ConfigProposal:
    found = tx.get(ConfigProposal, name)
    if found is None:
        names = [row.id for row in _list_waiting(tx)]
        raise not_found("change", name, names, "pancode inbox")
    return found
