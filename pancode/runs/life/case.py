"""A case: a run with all its rows in the ledger, its state transitions and stage, and the jobs on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from node_agent.wire.identity import Mark
from pancode.agents.runtimes import RUNTIMES
from pancode.budget import books
from pancode.kernel.facets import Approvals, Caller, FleetLead, ModelChoice
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
    Workflow,
    WorkflowKind,
)
from pancode.kernel.values import replace

MAX_BINDINGS = 12
"""How many leases of one attempt may come back in an epoch before the run is given up. Waits do not count."""

RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.INTERRUPTING, RunState.ENDED}),
    RunState.RUNNING: frozenset(
        {RunState.PENDING, RunState.INTERRUPTING, RunState.COLLECTING, RunState.ENDED}
    ),
    # Back to pending: the node interrupted it at a limit, no stop was requested, and it may be tried again.
    RunState.INTERRUPTING: frozenset({RunState.PENDING, RunState.COLLECTING, RunState.ENDED}),
    RunState.COLLECTING: frozenset({RunState.PENDING, RunState.INTERRUPTING, RunState.ENDED}),
    RunState.ENDED: frozenset({RunState.ENDED}),
}
"""The transitions of a run's state. From `ended` to `ended`: a verified receipt replaces `lost`."""

LEASE_MOVES: dict[LeaseState, frozenset[LeaseState]] = {
    LeaseState.OFFERED: frozenset({LeaseState.ACCEPTED, LeaseState.RUNNING, LeaseState.CLOSED}),
    LeaseState.ACCEPTED: frozenset({LeaseState.RUNNING, LeaseState.CLOSED}),
    LeaseState.RUNNING: frozenset({LeaseState.CLOSED}),
    LeaseState.CLOSED: frozenset({LeaseState.CLOSED}),
}
"""The transitions of a lease's state. From `closed` to `closed`: the receipt of a lost lease arrived after
all."""


def is_free(run: Run) -> bool:
    """Whether the run costs nothing in any case: a user's own script, or a model of the fleet's own without a
    price."""
    return not run.estimate_usd and (RUNTIMES[run.runtime].own or run.endpoint is not None)


NOT_STARTED: dict[str, object] = {"cost_usd": "0", "cost_source": "not started"}
"""The usage of an attempt that never ran, according to its node or our own records."""
PUBLISHING = frozenset({Mark.GATED, Mark.PUSHED, Mark.RECEIPTED, Mark.ACKNOWLEDGED, Mark.REJECTED})
"""The marks at which the agent has already ended, so that its slot is free."""


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
    """Whether an open lease occupies a slot of its node; one handed over ahead still waits for a slot."""
    waits = lease.ahead and lease.mark in ("", Mark.HELD)
    return lease.state is not LeaseState.CLOSED and lease.mark not in PUBLISHING and not waits


@dataclass(frozen=True, slots=True)
class Now:
    """External inputs of a decision: the time, a source of new ids, and the lengths of pauses."""

    ms: int
    new_id: books.NewId
    refused_pause_ms: int = 5_000
    retry_pause_ms: int = 10_000

    @property
    def stamp(self) -> books.Stamp:
        return books.Stamp(self.ms, self.new_id)


def may_follow(run: Run) -> bool:
    """Whether the run may have follow-up actions or a question to a user; else they need not be read."""
    may_be_answered = run.waits is WaitReason.USER or Approvals.of(run).calls or FleetLead.of(run).fleet
    return run.state is RunState.ENDED or bool(may_be_answered)


@dataclass(frozen=True, slots=True)
class RunCase:
    """All rows of one run, by number, and the signal's lease."""

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
    """The number of the signal's lease; 0: the signal concerns the run's current attempt."""

    @property
    def lease(self) -> Lease:
        """The signal's lease. KeyError if the signal concerns no lease."""
        return self.leases[self.about]

    @property
    def attempt(self) -> Attempt:
        """The attempt of the signal's lease, else the current one; a new row if there is none yet."""
        number = self.lease.attempt if self.about else self.run.attempt
        return self.attempts.get(number) or Attempt(self.run.id, number, self.now.ms, books.ZERO)

    @property
    def account(self) -> books.Account:
        return books.Account(self.run.id, self.attempt.attempt, self.about)

    @property
    def newest(self) -> bool:
        """Whether the signal's lease is the run's newest: only the newest one changes the run's state."""
        return self.about == self.run.lease

    @property
    def came_back(self) -> int:
        """How many other leases of the attempt came back in this epoch. Waits do not count. Jobs sent ahead
        do not count either: they only wait for a free slot."""
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
        """Leases that may be running, or whose end is unknown."""
        return [f for f in self.leases.values() if f.state is not LeaseState.CLOSED]

    @property
    def lost_leases(self) -> list[Lease]:
        """Leases that were given up and have sent no receipt: they may still run."""
        return [f for f in self.leases.values() if f.closed is Closed.LOST and f.receipt is None]

    def left(self, attempt: int) -> Decimal | None:
        """Return the USD of the run's limit that are left for this attempt; None: the run has no limit."""
        usd = self.run.limits.get("usd")
        if usd is None or attempt == 1:
            return None if usd is None else Decimal(str(usd))
        return max(Decimal(str(usd)) - books.sum_used(self.entries, attempt), books.ZERO)

    def ordered(self) -> Decimal | None:
        """Return the most USD that this lease's job allows: what is left or reserved; None: no limit."""
        left, reserved = self.left(self.attempt.attempt), self.attempt.reserved_usd
        return reserved if left is None and reserved and self.about and self.lease.ahead else left

    def spent_up(self, attempt: int) -> bool:
        """Whether nothing is left for this attempt; a run with a budget of 0 may still do free work."""
        return attempt > 1 and self.left(attempt) == 0 and Decimal(str(self.run.limits["usd"])) > 0

    def with_row(self, row: Run | Attempt | Lease | SessionRow | StoredMessage) -> RunCase:
        """Return the same case with this row instead of the old one."""
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
    """The values of a run's `stage`."""

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
    """Return the stage of a run. `lease`: its newest one; None if it has none."""
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
    """Return the key by which a node sorts its jobs: the smallest begins first."""
    return lease.bound_ms, lease.lease, lease.run


def why_it_stays(run: Run, workflow: Workflow | None) -> str:
    """Return why the run waits with the coordinator and is not handed over; empty: it may be."""
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
    if workflow is not None and workflow.kind is WorkflowKind.RACE:
        return "in a race the first run to pass wins, and the others are stopped"
    return ""


def asks_a_model(run: Run) -> bool:
    """Whether the run may cost money for a model."""
    is_own = RUNTIMES[run.runtime].own and not run.estimate_usd
    return not is_own and not ModelChoice.of(run).free


def cap_of(run: Run, left: Decimal | None, usual: Decimal, reserved: Decimal) -> Decimal | None:
    """Return the most USD that an attempt may cost once it is handed over; None: it pays for no model.
    `left`: of the run's limit; None: no limit, so it gets `usual`, or its reservation if that is more."""
    if not asks_a_model(run):
        return None
    return max(usual, reserved) if left is None else left
