"""What must be true after every step, and what must be true once faults have stopped."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from node_agent.wire.failure import Outcome
from node_agent.wire.marks import FINAL
from pancode.domain import books
from pancode.domain.records import (
    Attempt,
    Balance,
    Entry,
    EntryKind,
    Fence,
    FenceState,
    Run,
    RunState,
    StoredReceipt,
)
from tests.simulation.machines import RULES, Desk, Machine


class Broken(AssertionError):
    """An invariant does not hold; the message says which and where."""


class Invariants:
    """Keeps what it has seen, to tell a change that must never be."""

    def __init__(self, desk: Desk, machines: list[Machine]) -> None:
        self.desk, self.machines = desk, machines
        self._outcomes: dict[str, Outcome] = {}
        self.ceiling = RULES.ceiling_usd
        self._entries = 0
        self._running: dict[str, Balance] = {}

    def after_step(self) -> None:
        with self.desk.seen() as tx:
            self._runs(tx.find(Run))
            self._books(tx.find(Entry), tx.find(Balance))
            self._kept({(r.run, r.fence) for r in tx.find(StoredReceipt)}, tx.find(Run))
        self._processes()

    # -- runs -----------------------------------------------------------------------------------

    def _runs(self, runs: list[Run]) -> None:
        for run in runs:
            if run.state is not RunState.ENDED:
                self._must(bool(run.reason), f"{run.id} waits without a reason")
                self._must(run.outcome is None, f"{run.id} is {run.state} with outcome {run.outcome}")
                continue
            self._must(run.outcome is not None, f"{run.id} has ended without an outcome")
            before = self._outcomes.get(run.id)
            same = before in (None, run.outcome, Outcome.LOST)
            self._must(same, f"{run.id} was {before}, then {run.outcome}")
            if run.outcome is not None:
                self._outcomes[run.id] = run.outcome

    # -- money ----------------------------------------------------------------------------------

    def _books(self, entries: list[Entry], balances: list[Balance]) -> None:
        """Sum of entries = balance; no hold was ever granted over the ceiling."""
        for entry in entries[self._entries :]:
            now = books.apply(self._running.get(entry.scope, Balance(entry.scope)), entry)
            self._running[entry.scope] = now
            if entry.kind is EntryKind.HOLD and entry.scope.startswith("day:") and entry.usd:
                over = now.spent_usd + now.held_usd > self.ceiling
                self._must(not over, f"{entry.run}: a hold over the ceiling: {now}")
        self._entries = len(entries)
        for balance in balances:
            self._must(balance == self._running[balance.scope], f"books: {balance} {self._running}")
            self._must(balance.held_usd >= 0, f"{balance.scope}: less than nothing is held")

    # -- processes ------------------------------------------------------------------------------

    def _processes(self) -> None:
        """Ground truth: what really runs on the machines now."""
        everywhere: Counter[str] = Counter()
        for machine in self.machines:
            alive = {who for who, _ in machine.alive()}
            self._must(
                len(alive) <= machine.slots, f"{machine.name} runs {len(alive)} on {machine.slots} slots"
            )
            everywhere.update({who.run for who in alive})
            twice = [folder for folder, n in Counter(machine.host.spawns).items() if n > 1]
            self._must(not twice, f"{machine.name} started twice: {twice}")
        for run_id, count in everywhere.items():
            if count > 1:
                self._may_be_twice(run_id)

    def _may_be_twice(self, run_id: str) -> None:
        with self.desk.seen() as tx:
            run = tx.get(Run, run_id)
        asked = run is not None and (run.read_only or run.on_lost == "retry")
        self._must(asked, f"{run_id} writes and runs in two places")

    # -- evidence -------------------------------------------------------------------------------

    def _kept(self, receipts: set[tuple[str, int]], runs: list[Run]) -> None:
        """Nothing is deleted on a node before the coordinator has its receipt on record."""
        for machine in self.machines:
            started = {folder.split("/")[-2] for folder in machine.host.spawns}
            for name in started - set(machine.host.trees):
                run, _, fence = name.split(".")
                self._must((run, int(fence)) in receipts, f"{machine.name} deleted {name} unacknowledged")

    # -- the end --------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Faults have stopped, nothing is paused, every deadline has passed."""
        with self.desk.seen() as tx:
            for run in tx.find(Run):
                self._must(run.state is RunState.ENDED, f"{run.id} never ended: {run.state} ({run.reason})")
            self._settled(tx.find(Fence), tx.find(Attempt))
            self._no_hold_left(tx.find(Balance))
        for machine in self.machines:
            for entry in machine.journal.entries():
                self._must(entry.mark in FINAL, f"{machine.name}: {entry.identity} is only {entry.mark}")
            self._must(not machine.alive(), f"{machine.name} still runs {machine.alive()}")
            self._must(not machine.host.trees, f"{machine.name} keeps {machine.host.trees}")
        self._no_phantoms()

    def _settled(self, fences: list[Fence], attempts: list[Attempt]) -> None:
        for fence in fences:
            closed = fence.state is FenceState.CLOSED
            self._must(closed, f"fence {fence.run}.{fence.attempt}.{fence.fence} is {fence.state}")
        winners = Counter(a.run for a in attempts if a.outcome is Outcome.DONE)
        self._must(all(n == 1 for n in winners.values()), f"more than one attempt won: {winners}")

    def _no_hold_left(self, balances: list[Balance]) -> None:
        for balance in balances:
            if balance.unknown_runs == 0:
                self._must(balance.held_usd == Decimal(0), f"{balance.scope} still holds {balance.held_usd}")

    def _no_phantoms(self) -> None:
        for queue in self.desk.redis.bus().queues():
            left = [*queue.waiting, *queue.started]
            self._must(not left, f"queue {queue.name} still shows {left}")

    def _must(self, holds: bool, what: str) -> None:
        if not holds:
            raise Broken(what)
