"""A case: a run with all that the ledger knows of it at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pancode.core import books
from pancode.core.records import (
    Action,
    ActionKind,
    Attempt,
    BookEntry,
    Closed,
    Fence,
    FenceState,
    Run,
    RunState,
    WaitReason,
)
from pancode.core.values import replace


@dataclass(frozen=True, slots=True)
class Now:
    """What a decision needs of the world: the time, where new ids come from, and how long a pause is."""

    ms: int
    new_id: books.NewId
    refused_pause_ms: int = 5_000
    retry_pause_ms: int = 10_000

    @property
    def stamp(self) -> books.Stamp:
        return books.Stamp(self.ms, self.new_id)


def may_follow(run: Run) -> bool:
    """Whether the event may need a follow-up action, or a person's answer; only then these are looked up."""
    asked = run.waits is WaitReason.PERSON or "calls" in run.terms
    return run.state is RunState.ENDED or asked


@dataclass(frozen=True, slots=True)
class RunCase:
    """All rows of one run, by number, and the fence of the signal."""

    run: Run
    attempts: Mapping[int, Attempt]
    fences: Mapping[int, Fence]
    entries: tuple[BookEntry, ...]
    now: Now
    actions: tuple[Action, ...] = ()
    """The actions that still have to follow from the run."""
    about: int = 0
    """The number of the signal's fence; 0: the signal is about the run's current attempt."""

    @property
    def fence(self) -> Fence:
        """The signal's fence. KeyError when the signal is about no fence."""
        return self.fences[self.about]

    @property
    def attempt(self) -> Attempt:
        """The attempt of the fence, or the current attempt; a new row when there is none yet."""
        number = self.fence.attempt if self.about else self.run.attempt
        return self.attempts.get(number) or Attempt(self.run.id, number, self.now.ms, books.ZERO)

    @property
    def account(self) -> books.Account:
        return books.Account(self.run.id, self.attempt.attempt, self.about)

    @property
    def newest(self) -> bool:
        """Whether this fence is the run's newest: only its word moves the run."""
        return self.about == self.run.fence

    @property
    def came_back(self) -> int:
        """How many other fences of this attempt came back in this epoch; waits are not counted."""
        kinds, mine = (Closed.REFUSED, Closed.NEVER_ACCEPTED), self.fence
        others = [f for f in self.fences.values() if f.fence != mine.fence and f.attempt == mine.attempt]
        return sum(f.closed in kinds and f.start_by_epoch == mine.start_by_epoch for f in others)

    def action(self, kind: ActionKind) -> Action | None:
        """The action of this kind that has not been done yet."""
        return {action.kind: action for action in self.actions}.get(kind)

    @property
    def open_fences(self) -> list[Fence]:
        """Fences that may be running, or whose end is not known."""
        return [f for f in self.fences.values() if f.state is not FenceState.CLOSED]

    @property
    def lost_fences(self) -> list[Fence]:
        """Fences that were given up and have sent no receipt: they may still run."""
        return [f for f in self.fences.values() if f.closed is Closed.LOST and f.receipt is None]

    def left(self, attempt: int) -> Decimal | None:
        """The money that earlier attempts have left for this one; None: the run has no budget."""
        usd = self.run.limits.get("usd")
        if usd is None or attempt == 1:
            return None if usd is None else Decimal(str(usd))
        return max(Decimal(str(usd)) - books.used(self.entries, attempt), books.ZERO)

    def spent_up(self, attempt: int) -> bool:
        """Whether nothing is left for this attempt; a run with a budget of 0 may still do free work."""
        return attempt > 1 and self.left(attempt) == 0 and Decimal(str(self.run.limits["usd"])) > 0

    def with_row(self, row: Run | Attempt | Fence) -> RunCase:
        """The same case with this row instead of the old one."""
        if isinstance(row, Run):
            return replace(self, run=row)
        if isinstance(row, Attempt):
            return replace(self, attempts={**self.attempts, row.attempt: row})
        return replace(self, fences={**self.fences, row.fence: row})
