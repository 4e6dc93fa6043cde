"""A run with all its rows in the ledger; the transitions of its state, its stage, and the jobs on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from node_agent.wire.identity import Mark
from pancode.agents.runtimes import RUNTIMES
from pancode.budget import books
from pancode.kernel.records import (
    Action,
    ActionKind,
    Attempt,
    BookEntry,
    Closed,
    Lease,
    LeaseState,
    Run,
    RunState,
    SessionRow,
    StoredMessage,
    WaitReason,
)
from pancode.kernel.values import replace
from pancode.runs.facts import Approvals, Caller, FleetLead, ModelChoice

MAX_BINDINGS = 12
"""How many leases of an attempt may come back in an epoch before the run is given up, waits not counted."""

RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.INTERRUPTING, RunState.ENDED}),
    RunState.RUNNING: frozenset(
        {RunState.PENDING, RunState.INTERRUPTING, RunState.COLLECTING, RunState.ENDED}
    ),
    # Back to pending: the node interrupted the run at a limit, no stop was requested, and it may be retried.
    RunState.INTERRUPTING: frozenset({RunState.PENDING, RunState.COLLECTING, RunState.ENDED}),
    RunState.COLLECTING: frozenset({RunState.PENDING, RunState.INTERRUPTING, RunState.ENDED}),
    RunState.ENDED: frozenset({RunState.ENDED}),
}
"""The allowed transitions of a run's state. From `ended` to `ended`: a verified receipt replaces `lost`."""

LEASE_MOVES: dict[LeaseState, frozenset[LeaseState]] = {
    LeaseState.OFFERED: frozenset({LeaseState.ACCEPTED, LeaseState.RUNNING, LeaseState.CLOSED}),
    LeaseState.ACCEPTED: frozenset({LeaseState.RUNNING, LeaseState.CLOSED}),
    LeaseState.RUNNING: frozenset({LeaseState.CLOSED}),
    LeaseState.CLOSED: frozenset({LeaseState.CLOSED}),
}
"""The allowed transitions of a lease's state. From `closed` to `closed`: the receipt of a lost lease arrived
after all."""


def is_free(run: Run) -> bool:
    """Whether the run certainly costs nothing: it is a user's own script, or uses a model of the fleet
    without a price."""
    return not run.estimate_usd and (RUNTIMES[run.runtime].own or run.endpoint is not None)


NOT_STARTED: dict[str, object] = {"cost_usd": "0", "cost_source": "not started"}
"""The usage of an attempt that never ran, according to its node or to the ledger."""
PUBLISHING = frozenset({Mark.GATED, Mark.PUSHED, Mark.RECEIPTED, Mark.ACKNOWLEDGED, Mark.REJECTED})
"""The job stages at which the agent has already ended, so that its slot is free."""


def move_run(run: Run, state: RunState) -> Run:
    """Return the run in its new state; ValueError if the table has no such transition."""
    if state is run.state:
        return run
    if state not in RUN_MOVES[run.state]:
        raise ValueError(f"run {run.id}: {run.state} cannot become {state}")
    return replace(run, state=state)


def close_lease(lease: Lease, how: Closed, wall_ms: int) -> Lease:
    return replace(lease, state=LeaseState.CLOSED, closed=how, closed_ms=wall_ms)


def holds_slot(lease: Lease) -> bool:
    """Whether an open lease occupies a slot of its node; a job handed over ahead still waits for a slot."""
    waits = lease.ahead and lease.mark in ("", Mark.HELD)
    return lease.state is not LeaseState.CLOSED and lease.mark not in PUBLISHING and not waits


@dataclass(frozen=True, slots=True)
class Now:
    """External inputs of a decision: the time, a source of new ids, and the length of pauses."""

    ms: int
    new_id: books.NewId
    refused_pause_ms: int = 5_000
    retry_pause_ms: int = 10_000

    @property
    def stamp(self) -> books.Stamp:
        return books.Stamp(self.ms, self.new_id)


def may_follow(run: Run) -> bool:
    """Whether the run may have follow-up actions or a question to a user; if not, they need not be read."""
    may_be_answered = run.waits is WaitReason.USER or Approvals.of(run).calls or FleetLead.of(run).fleet
    return run.state is RunState.ENDED or bool(may_be_answered)


@dataclass(frozen=True, slots=True)
class RunCase:
    """A run with all its rows, by number, and the lease that a signal concerns."""

    run: Run
    attempts: Mapping[int, Attempt]
    leases: Mapping[int, Lease]
    entries: tuple[BookEntry, ...]
    now: Now
    actions: tuple[Action, ...] = ()
    """The run's pending follow-up actions."""
    words: tuple[StoredMessage, ...] = ()
    """Users' messages to the run, by number."""
    session: SessionRow | None = None
    """The session, if the run is its newest interactive run."""
    about: int = 0
    """The number of the lease that the signal concerns; 0: the signal concerns the run's current attempt."""

    @property
    def lease(self) -> Lease:
        """Return the signal's lease. KeyError if the signal concerns no lease."""
        return self.leases[self.about]

    @property
    def attempt(self) -> Attempt:
        """Return the attempt of the signal's lease, else the current one; a new row if none exists yet."""
        number = self.lease.attempt if self.about else self.run.attempt
        return self.attempts.get(number) or Attempt(self.run.id, number, self.now.ms, books.ZERO)

    @property
    def account(self) -> books.Account:
        return books.Account(self.run.id, self.attempt.attempt, self.about)

    @property
    def newest(self) -> bool:
        """Whether the signal's lease is the run's newest; only that lease changes the run's state."""
        return self.about == self.run.lease

    @property
    def came_back(self) -> int:
        """Return how many other leases of the attempt nodes gave back in this epoch. Jobs that only waited,
        and those handed over ahead, which wait for a slot, do not count."""
        kinds, mine = (Closed.REFUSED, Closed.NEVER_ACCEPTED), self.lease
        others = [
            f
            for f in self.leases.values()
            if f.lease != mine.lease and f.attempt == mine.attempt and not f.ahead
        ]
        return sum(f.closed in kinds and f.start_by_epoch == mine.start_by_epoch for f in others)

    def action(self, kind: ActionKind) -> Action | None:
        """Return the pending action of this kind."""
        return {action.kind: action for action in self.actions}.get(kind)

    @property
    def open_leases(self) -> list[Lease]:
        """Return the leases that may be running, or whose end is unknown."""
        return [f for f in self.leases.values() if f.state is not LeaseState.CLOSED]

    @property
    def lost_leases(self) -> list[Lease]:
        """Return the leases that were given up and have sent no receipt; these may still run."""
        return [f for f in self.leases.values() if f.closed is Closed.LOST and f.receipt is None]

    def left(self, attempt: int) -> Decimal | None:
        """Return the USD of the run's limit that are left for this attempt; None: the run has no limit."""
        usd = self.run.limits.get("usd")
        if usd is None or attempt == 1:
            return None if usd is None else Decimal(str(usd))
        return max(Decimal(str(usd)) - books.sum_used(self.entries, attempt), books.ZERO)

    def ordered(self) -> Decimal | None:
        """Return the most USD that the lease's job allows: the rest or the reservation; None: no limit."""
        left, reserved = self.left(self.attempt.attempt), self.attempt.reserved_usd
        return reserved if left is None and reserved and self.about and self.lease.ahead else left

    def spent_up(self, attempt: int) -> bool:
        """Whether no budget is left for this attempt; a run with a budget of 0 may still do free work."""
        return attempt > 1 and self.left(attempt) == 0 and Decimal(str(self.run.limits["usd"])) > 0

    def with_row(self, row: Run | Attempt | Lease | SessionRow | StoredMessage) -> RunCase:
        """Return this case with the row in place of the row with the same key."""
        if isinstance(row, StoredMessage):
            messages = {**{one.number: one for one in self.words}, row.number: row}
            return replace(self, words=tuple(messages.values()))
        if isinstance(row, SessionRow):
            return replace(self, session=row)
        if isinstance(row, Run):
            return replace(self, run=row)
        if isinstance(row, Attempt):
            return replace(self, attempts={**self.attempts, row.attempt: row})
        return replace(self, leases={**self.leases, row.lease: row})


class RunStage(StrEnum):
    """The stages of a run, as shown to users."""

    WAITING = "waiting"
    PLACED = "placed"
    PREPARING = "preparing"
    RUNNING = "running"
    VERIFYING = "verifying"
    DELIVERING = "delivering"
    STOPPING = "stopping"
    ENDED = "ended"


_OF_MARK: dict[str, RunStage] = {
    Mark.HELD: RunStage.PLACED,
    Mark.ACCEPTED: RunStage.PREPARING,
    Mark.PREPARED: RunStage.PREPARING,
    Mark.SPAWNED: RunStage.RUNNING,
    Mark.EXITED: RunStage.VERIFYING,
    Mark.COMMITTED: RunStage.VERIFYING,
}


def stage_of(run: Run, lease: Lease | None) -> RunStage:
    """Return the stage of a run. `lease`: the run's newest lease; None if it has none."""
    if run.state is RunState.ENDED:
        return RunStage.ENDED
    if run.state is RunState.INTERRUPTING:
        return RunStage.STOPPING
    if lease is None or lease.state is LeaseState.CLOSED:
        return RunStage.WAITING
    if lease.state is LeaseState.OFFERED:
        return RunStage.PLACED
    return _OF_MARK.get(lease.mark, RunStage.DELIVERING)


Line = tuple[int, int, str]


def waits_there(lease: Lease) -> bool:
    """Whether the job waits on its node for a slot, as far as the node has reported."""
    return lease.state is not LeaseState.CLOSED and (
        lease.mark == Mark.HELD or (lease.ahead and not lease.mark)
    )


def place_in_line(lease: Lease) -> Line:
    """Return the key by which a node sorts its waiting jobs; the job with the smallest key begins first."""
    return lease.bound_ms, lease.lease, lease.run


def why_it_stays(run: Run) -> str:
    """Return why the run waits with the coordinator and is not handed over to a node; empty: it may be."""
    if run.takes_turns:
        return "a session waits for a user's message"
    if run.parent is not None:
        return f"run {run.parent}, which started it, waits for it"
    if Caller.of(run).charged_to:
        return "its session pays for it"
    if run.holds_gpus:
        return "it reserves a GPU as soon as it has a job"
    if run.judges is not None:
        return "it evaluates the result of another run"
    return ""


def asks_a_model(run: Run) -> bool:
    """Whether the run may cost money for a model."""
    is_own = RUNTIMES[run.runtime].own and not run.estimate_usd
    return not is_own and not ModelChoice.of(run).free


def cap_of(run: Run, left: Decimal | None, usual: Decimal, reserved: Decimal) -> Decimal | None:
    """Return the most USD that an attempt may cost once handed over; None: it uses no paid model. `left`: the
    rest of the run's limit; None: no limit, so that `usual`, or its reservation if that is more, applies."""
    if not asks_a_model(run):
        return None
    return max(usual, reserved) if left is None else left
