"""Keeps the order and requirements of waiting runs in memory; a run's row is read only to place the run.

Runs with the same requirements wait for the same reason, as free slots only decrease during a pass. So only
the first run of such a group is tried, and the next one only if the first was placed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterator, Set
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from pancode.budget.track_record_rules import worker_kind
from pancode.kernel.ports import Ticket
from pancode.kernel.records import Run, RunState, WaitReason
from pancode.runs.placement.placement import pool_of, wish_of

Place = tuple[int, int, str]
"""The order of waiting runs, as in `in_order`: higher priority first, then older, then by id."""


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """The facts that decide when a pending run is placed."""

    place: Place
    wish: object
    reason: str
    held: bool
    """Whether the run waits for something other than a node: a user, or a step of its workflow."""
    wants_slot: bool
    """Whether the run waits for a slot, here or on the node that has its job."""
    retry_at_ms: int | None
    ticket: Ticket


class WaitingRuns:
    """All pending runs. `changes` counts the changes of what the queue shows of them."""

    def __init__(self) -> None:
        self.all: dict[str, WaitingRun] = {}
        self.changes = 0
        self._wishes: dict[object, list[Place]] = {}

    def note(self, run: str, row: Run | None) -> None:
        """Store the run's current row; None, or a run that is no longer pending, removes it."""
        known = self.all.get(run)
        fresh = _make_entry(row) if row is not None and row.state is RunState.PENDING else None
        if known == fresh:
            return
        tickets = known and known.ticket, fresh and fresh.ticket
        self.changes += tickets[0] != tickets[1]
        if known is not None:
            places = self._wishes[known.wish]
            del places[bisect_left(places, known.place)]
            if not places:
                del self._wishes[known.wish]
            del self.all[run]
        if fresh is not None:
            insort(self._wishes.setdefault(fresh.wish, []), fresh.place)
            self.all[run] = fresh

    def in_order(self, without: Container[str]) -> list[WaitingRun]:
        return sorted((one for id, one in self.all.items() if id not in without), key=lambda one: one.place)

    def groups(self, fits: Callable[[WaitingRun], bool], alone: Set[str]) -> list[Iterator[WaitingRun]]:
        """Return the fitting runs, in order, grouped by requirements; each of `alone` is a separate group."""
        groups = [self._yield_group(places, fits, alone) for places in self._wishes.values()]
        one_by_one = [one for run in alone if (one := self.all.get(run)) is not None and fits(one)]
        return [*groups, *(iter([one]) for one in one_by_one)]

    def _yield_group(
        self, places: list[Place], fits: Callable[[WaitingRun], bool], alone: Container[str]
    ) -> Iterator[WaitingRun]:
        for place in places:
            one = self.all[place[2]]
            if place[2] not in alone and fits(one):
                yield one

    def unexplained(self, wish: object, why: str, alone: Container[str], most: int) -> list[str]:
        """Return up to `most` runs with requirements `wish` whose recorded reason to wait is not `why`."""
        found: list[str] = []
        for *_, run in self._wishes.get(wish, ()):
            if len(found) >= most:
                break
            one = self.all[run]
            if one.reason != why and not one.held and run not in alone:
                found.append(run)
        return found


def in_turn(groups: list[Iterator[WaitingRun]], in_vain: Container[object]) -> Iterator[WaitingRun]:
    """Yield the runs of all groups in order; a group ends once its requirements are known to be `in_vain`."""
    heads = [(one.place, number, one) for number, group in enumerate(groups) if (one := next(group, None))]
    heapify(heads)
    while heads:
        _, number, one = heappop(heads)
        yield one
        after = None if one.wish in in_vain else next(groups[number], None)
        if after is not None:
            heappush(heads, (after.place, number, after))


def _make_entry(run: Run) -> WaitingRun:
    """Return the run's entry; a retried run gets a separate group, as it has a reservation and a delay."""
    own = run.id if run.attempt > 1 or run.retry_at_ms is not None else ""
    ticket = Ticket(f"pool.{pool_of(run)}", run.id, run.attempt, run.task[:200], run.agent, run.priority)
    return WaitingRun(
        place=(-run.priority, run.created_ms, run.id),
        wish=(wish_of(run), worker_kind(run), own),
        reason=run.reason,
        held=run.waits is not None and run.waits.is_held,
        wants_slot=run.waits in (WaitReason.NO_SLOT, WaitReason.HANDED),
        retry_at_ms=run.retry_at_ms,
        ticket=ticket,
    )
