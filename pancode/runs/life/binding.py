"""How a run is admitted, waits, and is bound to a node, with the reservations for this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel.errors import RefusedError
from pancode.kernel.formatting import format_usd
from pancode.kernel.records import Attempt, GpuHold, Lease, RunState, WaitReason
from pancode.kernel.values import replace
from pancode.runs.facts import ModelChoice
from pancode.runs.life import waits as people
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.ends import end_lost_leases, end_without_budget
from pancode.runs.life.inbox import is_lifted_for_good, is_unapproved


@dataclass(frozen=True, slots=True)
class Admitted(Signal):
    """A new run that has passed the gates."""

    budget_scopes: Sequence[BudgetScope]

    def apply(self, made: Changes) -> Changes:
        """Reserve for the first attempt; RefusedError with the amounts if a ceiling has no room."""
        made, refused = reserve_budget(made, self.budget_scopes)
        if refused:
            raise RefusedError(
                refused,
                why="the run's estimate does not fit under this ceiling",
                fix="pancode budget show",
                code="budget",
            )
        made = replace(made, fresh=True)
        return made.tell("gate", "budget", "held", format_usd(made.run.estimate_usd))


@dataclass(frozen=True, slots=True)
class Due(Signal):
    """Signal that the run has waited long enough, so that its next attempt takes its own reservation."""

    budget_scopes: Sequence[BudgetScope]

    def apply(self, made: Changes) -> Changes:
        """Take a later attempt's reservation. If there is no room, the run waits for budget or ends."""
        if made.run.attempt == 1:
            return made
        if made.case.spent_up(made.run.attempt):
            return end_without_budget(made)
        if made.run.attempt in made.case.attempts:
            return made
        made, refused = reserve_budget(made, self.budget_scopes, beyond=is_lifted_for_good(made.run))
        if not refused:
            return made
        never = _never_fits(made, self.budget_scopes)
        if never:
            return end_without_budget(
                made, f"the budget of its workflow has no room for another attempt: {never}"
            )
        return Waits("budget", refused, WaitReason.BUDGET).apply(made)


def reserve_budget(
    made: Changes, budget_scopes: Sequence[BudgetScope], beyond: bool = False
) -> tuple[Changes, str]:
    """Reserve the estimate for the run's current attempt in each scope; return changes, and why it failed.

    `beyond`: a user has allowed the reservation even without room under a ceiling; the timeline records it.
    """
    run, amount = made.run, _cap_estimate(made)
    for budget_scope in budget_scopes:
        if beyond and not books.is_within_ceilings(budget_scope.balance, budget_scope.ceilings, amount):
            made = made.tell(
                "gate",
                "budget",
                "lifted",
                books.explain_refusal(budget_scope.balance, budget_scope.ceilings, amount),
            )
            made = made.record(
                "budget", "warning", "ceiling exceeded for one run", scope=budget_scope.balance.scope
            )
        elif not books.is_within_ceilings(budget_scope.balance, budget_scope.ceilings, amount):
            return made, books.explain_refusal(budget_scope.balance, budget_scope.ceilings, amount)
    scopes, account = (
        [budget_scope.balance.scope for budget_scope in budget_scopes if budget_scope.is_booked],
        books.Account(run.id, run.attempt),
    )
    entries = books.reserve_amount(scopes, account, amount, made.now.stamp)
    if run.judges is not None:
        entries = [replace(entry, source=books.CHECK) for entry in entries]
    made = made.book(entries)
    return made.put(Attempt(run.id, run.attempt, made.now.ms, amount.usd)), ""


def _cap_estimate(made: Changes) -> books.Amount:
    run, left = made.run, made.case.left(made.run.attempt)
    usd = run.estimate_usd if left is None else min(run.estimate_usd, left)
    return replace(books.estimate_of(run), usd=usd)


def _never_fits(made: Changes, budget_scopes: Sequence[BudgetScope]) -> str:
    """Return why waiting cannot make room (a workflow's spending never resets); empty: it can."""
    amount = _cap_estimate(made)
    for budget_scope in budget_scopes:
        free = replace(budget_scope.balance, reserved_usd=books.ZERO, reserved_tokens=0, reserved_ms=0)
        if books.is_workflow(free.scope) and not books.is_within_ceilings(
            free, budget_scope.ceilings, amount
        ):
            return books.explain_refusal(free, budget_scope.ceilings, amount)
    return ""


@dataclass(frozen=True, slots=True)
class Waits(Signal):
    """Signal that the run cannot continue now."""

    on: str
    """What the run waits for: placement, budget or depot."""
    why: str
    kind: WaitReason

    def apply(self, made: Changes) -> Changes:
        """Record that the run waits and why; an unchanged reason is not recorded again."""
        if made.run.reason == self.why:
            return made
        return made.put(replace(made.run, reason=self.why, waits=self.kind)).tell(
            "wait", self.on, "waits", self.why
        )


@dataclass(frozen=True, slots=True)
class Released(Signal):
    """Signal that the workflow lets the run begin."""

    def apply(self, made: Changes) -> Changes:
        """Let the run begin; no change if its workflow did not hold it back."""
        run = made.run
        if run.state is not RunState.PENDING or run.waits is not WaitReason.WORKFLOW:
            return made
        return people.ask_first(made) if is_unapproved(run) else begin_waiting(made)


def begin_waiting(made: Changes) -> Changes:
    """Make the run wait only for a free slot from now on."""
    return made.put(replace(made.run, reason="queued", waits=WaitReason.QUEUED))


def reserve_as_before(made: Changes, note: str) -> Changes:
    """Lower the reservation to the run's estimate, because the node gave the waiting job back."""
    usd, account = _cap_estimate(made).usd, made.case.account
    if made.attempt.reserved_usd <= usd:
        return made
    made = made.book(books.lower_reserved(made.case.entries, account, usd, made.now.stamp, note))
    return made.put(replace(made.attempt, reserved_usd=usd))


def handed_to(node: str) -> str:
    """Return the reason shown for a run whose job waits on this node until a slot is free there."""
    return f"handed to {node}"


@dataclass(frozen=True, slots=True)
class Bound(Signal):
    """Signal that a job for the run was signed for a node."""

    lease: Lease
    why: str
    served: dict[str, object] = field(default_factory=dict)
    """The model server on that node, as reported; empty: unknown."""
    most_usd: Decimal | None = None
    """The most USD that a run handed over ahead reserves from now on; None: what it already reserves."""
    gpus: tuple[str, ...] = ()
    """The UUIDs of the node's GPUs that the run uses exclusively."""

    def apply(self, made: Changes) -> Changes:
        """Give the run its lease and reserve in the scope of its node; end its lost leases."""
        lease, run = self.lease, made.run
        attempt = made.case.attempts.get(run.attempt)
        if attempt is not None:
            account = books.Account(run.id, run.attempt, lease.lease)
            if self.most_usd is not None and self.most_usd > attempt.reserved_usd:
                made = made.book(
                    books.raise_reserved(made.case.entries, account, self.most_usd, made.now.stamp)
                )
                attempt = replace(attempt, reserved_usd=self.most_usd)
                made = made.put(attempt)
            amount = replace(books.estimate_of(run), usd=attempt.reserved_usd)
            made = made.book(
                books.reserve_amount([books.node_scope(lease.node)], account, amount, made.now.stamp)
            )
        made = end_lost_leases(made, f"replaced on {lease.node}")
        run = replace(ModelChoice.of(run), served=self.served).on(run) if self.served else run
        reason, waits = f"offered to {lease.node}", None
        if lease.ahead:
            reason, waits = handed_to(lease.node), WaitReason.HANDED
        placed = replace(run, lease=lease.lease, reason=reason, waits=waits, retry_at_ms=None)
        made = made.put(lease, placed)
        if self.gpus:
            made = made.add(GpuHold(run.id, lease.lease, lease.node, self.gpus))
        where = "handed over ahead to" if lease.ahead else "placed on"
        made = made.tell("placement", lease.node, "placed", f"{where} {lease.node}: {self.why}")
        if self.served:
            made = made.tell("model", f"{run.endpoint}/{run.model}", "served", str(self.served["words"]))
        return made
