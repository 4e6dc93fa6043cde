"""Adds a job to a run whose restored ledger lacks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pancode.budget import books
from pancode.kernel.records import Attempt, Lease, RunState
from pancode.runs.life.binding import Bound
from pancode.runs.life.changes import Changes, Signal


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
        lease, run, stamp = self.lease, made.run, made.now.stamp
        if lease.attempt not in made.case.attempts:
            account = books.Account(run.id, lease.attempt)
            new = books.reserve_amount(self.scopes, account, self.amount, stamp)
            made = made.book([replace(entry, note=books.FOUND) for entry in new])
            made = made.put(Attempt(run.id, lease.attempt, lease.bound_ms, self.amount.usd))
        made = made.tell("node", lease.node, "known", books.FOUND)
        if run.state is RunState.ENDED or lease.lease < run.lease or lease.attempt < run.attempt:
            return made.put(lease)
        made = made.put(replace(run, attempt=lease.attempt))
        return Bound(lease, "the node has the job since before the ledger was restored").apply(made)
