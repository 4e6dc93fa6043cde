"""Adds a job to a run whose restored ledger lacks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pancode.budget import books
from pancode.kernel.records import Attempt, EntryKind, Lease, RunState
from pancode.runs.life.binding import Bound
from pancode.runs.life.changes import Changes, Signal

_RESERVING = (EntryKind.RESERVE, EntryKind.RELEASE)


@dataclass(frozen=True, slots=True)
class Adopted(Signal):
    """Signal that a node has a job of this run, signed by this coordinator, which the ledger lacks. `scopes`:
    the budgets in which its attempt is booked if the ledger lacks that, too."""

    lease: Lease
    amount: books.Amount
    scopes: Sequence[str]

    def apply(self, made: Changes) -> Changes:
        """Add the lease, and its attempt with what the job reserved. Ceilings do not matter: the node has
        spent the money, or is spending it."""
        lease, run, stamp, booked = self.lease, made.run, made.now.stamp, made.case.entries
        # A run that ended while it was held has an attempt without a reservation, or with a released one.
        is_spent = any(one.attempt == lease.attempt and one.kind not in _RESERVING for one in booked)
        if not is_spent and not books.find_reserved(booked, lease.attempt):
            account = books.Account(run.id, lease.attempt)
            new = books.reserve_amount(self.scopes, account, self.amount, stamp)
            made = made.book([replace(entry, note=books.FOUND) for entry in new])
            made = made.put(
                made.case.attempts.get(lease.attempt)
                or Attempt(run.id, lease.attempt, lease.bound_ms, self.amount.usd)
            )
        made = made.tell("node", lease.node, "known", books.FOUND)
        if run.state is RunState.ENDED or lease.lease < run.lease or lease.attempt < run.attempt:
            return made.put(lease)
        made = made.put(replace(run, attempt=lease.attempt))
        return Bound(lease, "the node has the job since before the ledger was restored").apply(made)
