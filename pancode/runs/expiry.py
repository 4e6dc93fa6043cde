"""The end of a day: a hold of unknown cost no longer narrows the budgets that have no day."""

from __future__ import annotations

from pancode.control.alerts import ALERT
from pancode.control.core import Core
from pancode.control.work import Work, unit_of_work
from pancode.core import books
from pancode.core.books import PERIODS
from pancode.core.ports import Transaction
from pancode.core.records import Balance, BookEntry, EntryKind, Setting

LAPSED = "lapsed"
"""The setting that says for which day it was done."""


def lapse(core: Core) -> None:
    """Once a day: unknown holds of earlier days leave the scopes that have no day.

    A day's own balance ends with it. The cost stays unknown until somebody tells it, and is booked then.
    """
    today = books.day_scope(core.wall_ms(), core.tz)
    if core.live.day == today:
        return
    with unit_of_work(core) as work:
        balances = _not_done(work.tx, today)
        for balance in balances:
            if balance.unknown_runs and not books.is_day(balance.scope):
                _lapse_scope(work, balance.scope, today)
        _forget_alerts(work, {today, *core.period_scopes()})
        if balances:
            work.tx.put(Setting(LAPSED, today, core.wall_ms(), "coordinator"))
    core.live.day = today


def _not_done(tx: Transaction, today: str) -> list[Balance]:
    """All balances, unless this was done today."""
    done = tx.get(Setting, LAPSED)
    return [] if done is not None and done.value == today else tx.find(Balance)


def _lapse_scope(work: Work, scope: str, today: str) -> None:
    unknown = [
        entry for entry in work.tx.find(BookEntry, {"scope": scope}) if entry.kind is EntryKind.UNKNOWN
    ]
    for run, attempt in dict.fromkeys((entry.run, entry.attempt) for entry in unknown):
        entries = work.tx.find(BookEntry, {"run": run})
        admitted = [e.at_ms for e in entries if e.attempt == attempt and e.kind is EntryKind.HOLD]
        if admitted and books.day_scope(min(admitted), work.core.tz) < today:
            work.book(books.lapse(entries, books.Account(run, attempt), scope, work.core.stamp()))


def _forget_alerts(work: Work, now: set[str]) -> None:
    """Those of days, weeks and months that are over."""
    for kind in ("day", *PERIODS):
        for (name,) in work.tx.starting(Setting, f"{ALERT}{kind}:", 1_000):
            if str(name).removeprefix(ALERT) not in now:
                work.tx.delete(Setting, name)
