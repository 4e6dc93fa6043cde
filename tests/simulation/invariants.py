"""What must be true after every step. Each invariant is one method; its docstring is its name."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from node_agent.wire.failure import Outcome
from node_agent.wire.identity import HOLDS_SLOT, Mark
from pancode.budget import books
from pancode.kernel.ports import Transaction
from pancode.kernel.records import (
    Attempt,
    Balance,
    BookEntry,
    Closed,
    EntryKind,
    Lease,
    LeaseState,
    Node,
    Run,
    RunState,
    Setting,
    StoredReceipt,
)
from pancode.runs.life.case import holds_slot, waits_there
from tests.simulation.machines import Machine
from tests.simulation.truth import claims_in
from tests.simulation.world import SimWorld

REPLACED_MS = 120_000
"""For a word of the coordinator to arrive and to be obeyed by what ignores SIGTERM."""
SLACK_MS = 35_000
"""Echo, heartbeat and turn are each a few seconds old when they are looked at."""


class Broken(AssertionError):
    """An invariant does not hold; the message says which and where."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


class Invariants:
    """Keeps what it has seen, to tell a change that must never be."""

    def __init__(self, world: SimWorld) -> None:
        self.world, self.coordinator, self.truth = world, world.coordinator, world.truth
        self.ceilings: dict[str, Decimal] = {}
        self.work: dict[str, Any] = {}
        self._accepted: dict[str, str] = {}
        self._paces: dict[str, tuple[object, object, int, int]] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """The ledger is another one (a backup): what it said before binds it no longer."""
        self._outcomes: dict[str, Outcome] = {}
        self._ends: dict[tuple[str, int], Outcome] = {}
        self._bound_at: dict[tuple[str, int], int] = {}
        self._winners: dict[str, int] = {}
        self._leases: dict[tuple[str, int], Lease] = {}
        self._stored: set[str] = set()
        self._running: dict[str, Balance] = {}
        # The entries of a ledger that was put back were granted in an order that it does not tell.
        with self.coordinator.seen() as tx:
            entries = tx.find(BookEntry)
        self._entries = len(entries)
        for entry in entries:
            known = self._running.get(entry.scope, Balance(entry.scope))
            self._running[entry.scope] = books.apply_entry(known, entry)

    def after_step(self) -> None:
        with self.coordinator.seen() as tx:
            runs, leases = tx.find(Run), tx.find(Lease)
            self.each_wait_has_a_reason(runs)
            self.an_outcome_is_left_by_lost_only(runs)
            self.an_attempt_ends_once(tx.find(Attempt))
            self.an_older_lease_never_replaces_a_newer_result(tx, runs)
            settings = tx.find(Setting)
            self.ceilings = {s.name: Decimal(str(s.value)) for s in settings if s.name.startswith("ceiling:")}
            self.work = {s.name: s.value for s in settings if s.name.startswith("ceiling-work:")}
            self.books_balance(self.coordinator.ledger.as_written(BookEntry), tx.find(Balance))
            receipts = tx.find(StoredReceipt)
            self.accepted_means_true_and_there(tx, receipts)
            self.nothing_is_deleted_before_it_is_acknowledged({(r.run, r.lease) for r in receipts})
            self._new_and_closed(tx, leases, {r.id: r for r in runs})
            self.never_more_jobs_than_slots(tx, leases)
            self.what_was_replaced_is_ended(tx.find(Node))
        self.processes_keep_the_rules({r.id: r for r in runs})
        self.slots_never_flap()
        self.an_identity_names_one_job()

    def slots_never_flap(self) -> None:
        """A machine that decides by itself changes by one slot, and never twice within its shortest time."""
        for machine in self.world.machines:
            agent, state, now = machine.agent, machine.journal.node(), machine.clock.mono_ms()
            pace, before = (
                agent._concurrency if agent is not None else None,
                self._paces.pop(machine.name, None),
            )
            if pace is None:
                continue
            bounds = (state.least, state.slots)
            if before is None or before[:2] != (agent, bounds):
                before = (agent, bounds, pace.slots, now - machine.intervals.tighten_ms)
            _, _, slots, changed_ms = before
            if slots != pace.slots:
                lasted = pace.since_ms - changed_ms  # a step sees it only at its own end
                must(abs(slots - pace.slots) == 1, f"{machine.name} went from {slots} slots to {pace.slots}")
                must(lasted >= machine.intervals.tighten_ms, f"{machine.name} flaps: {lasted} ms, {pace}")
                changed_ms = pace.since_ms
            self._paces[machine.name] = (agent, bounds, pace.slots, changed_ms)

    # -- runs -----------------------------------------------------------------------------------

    def each_wait_has_a_reason(self, runs: list[Run]) -> None:
        """A run that has not ended says why; an ended one says how."""
        for run in runs:
            if run.state is RunState.ENDED:
                must(run.outcome is not None, f"{run.id} has ended without an outcome")
            else:
                must(bool(run.reason), f"{run.id} waits without a reason")
                must(run.outcome is None, f"{run.id} is {run.state} with outcome {run.outcome}")

    def an_outcome_is_left_by_lost_only(self, runs: list[Run]) -> None:
        """A terminal outcome is never left, but `lost` may be replaced, once, unless it was given up."""
        for run in runs:
            before, given_up = self._outcomes.get(run.id), run.id in self.truth.given_up
            same = before in (None, run.outcome) or (before is Outcome.LOST and not given_up)
            must(same, f"{run.id} was {before}, then {run.outcome} (given up: {given_up})")
            if run.outcome is not None:
                self._outcomes[run.id] = run.outcome

    def an_attempt_ends_once(self, attempts: list[Attempt]) -> None:
        """What it ended as stays; but for `lost`, of which its node may still say how it ended."""
        for attempt in attempts:
            before = self._ends.get((attempt.run, attempt.attempt))
            same = before in (None, attempt.outcome, Outcome.LOST)
            must(same, f"{attempt.run}.{attempt.attempt} was {before}, then {attempt.outcome}")
            if attempt.outcome is not None:
                self._ends[(attempt.run, attempt.attempt)] = attempt.outcome

    def an_older_lease_never_replaces_a_newer_result(self, tx: Transaction, runs: list[Run]) -> None:
        """The result of a run comes from its newest lease at that time, and only from a newer one after."""
        for run in runs:
            digest = run.result.get("receipt")
            stored = tx.get(StoredReceipt, str(digest)) if digest is not None else None
            if stored is None or self._winners.get(run.id) == stored.lease:
                continue
            must(stored.lease == run.lease, f"{run.id}: lease {stored.lease} won, the newest is {run.lease}")
            must(stored.lease > self._winners.get(run.id, 0), f"{run.id}: an older lease won after a newer")
            self._winners[run.id] = stored.lease

    # -- leases ---------------------------------------------------------------------------------

    def _new_and_closed(self, tx: Transaction, leases: list[Lease], runs: dict[str, Run]) -> None:
        known = [lease for lease in leases if (lease.run, lease.lease) in self._leases]
        for lease in leases:
            before = self._leases.get((lease.run, lease.lease))
            if before is None and not self.truth.was_signed_before(lease):
                name = lease.run
                must(name not in self.truth.held_runs, f"{name} begins, and nobody has released it")
                self.bound_ahead_or_for_a_free_slot(tx, lease, known)
                self.bound_only_when_nothing_older_may_run(lease, runs[lease.run])
                self.bound_only_to_a_node_that_is_heard(lease)
                self.a_stop_is_never_followed_by_a_new_job(lease)
            lost = lease.closed is Closed.LOST and (before is None or before.closed is None)
            if lost and lease.lease == runs[lease.run].lease:
                self.lost_only_after_the_waking_deadline(lease)
            if before is None or before is not lease:
                self._leases[(lease.run, lease.lease)] = lease
                self._bound_at.setdefault((lease.run, lease.lease), self.world.server.ms)

    def bound_only_when_nothing_older_may_run(self, lease: Lease, run: Run) -> None:
        """No second job of a run while an older one may still run, unless it only reads or it was asked."""
        older = [f for key, f in self._leases.items() if key[0] == lease.run and f.lease < lease.lease]
        for other in older:
            must(other.state is LeaseState.CLOSED, f"{lease.run}: lease {lease.lease} beside {other.lease}")
            asked = run.read_only or run.on_lost == "retry"
            may_run = other.closed is Closed.LOST and other.receipt is None
            must(asked or not may_run, f"{lease.run} writes, is lost, and was bound again unasked")

    def bound_only_to_a_node_that_is_heard(self, lease: Lease) -> None:
        """Nothing is offered to a node that has been silent for longer than an ask is valid."""
        away, ask = self.truth.away_ms[lease.node], self.coordinator.rules.deadlines.ask_ms
        must(away <= ask + 6_000, f"{lease.run} was bound to {lease.node}, silent for {away} ms")

    def a_stop_is_never_followed_by_a_new_job(self, lease: Lease) -> None:
        """Once a user has asked for the end, nothing of that run is signed any more."""
        top = self.truth.stops.get(lease.run)
        must(top is None or lease.lease <= top, f"{lease.run}: lease {lease.lease} was signed after a stop")

    def lost_only_after_the_waking_deadline(self, lease: Lease) -> None:
        """Lost means: unheard for the whole deadline, on the time in which somebody listened."""
        machine = next(m for m in self.world.machines if m.name == lease.node)
        if lease.node in self.truth.trusted or lease.tag != machine.tag or machine.disks > 1:
            return
        if lease.run in self.truth.restored:
            return
        silent, due = self.truth.silent_ms[lease.node], self.coordinator.rules.deadlines.lost_ms
        must(silent >= due - SLACK_MS, f"{lease.run}: {lease.node} was lost after {silent} ms of silence")

    def never_more_jobs_than_slots(self, tx: Transaction, leases: list[Lease]) -> None:
        """What has begun and may hold a slot fits into the node, by the ledger alone; but for a node that has
        lost its disk, and with it what the ledger still counts. Beside one that was handed over, what has
        freed its slot on the node does not count: the next one begins there before anybody hears of that."""
        begun = [f for f in leases if f.state is not LeaseState.CLOSED and f.mark in HOLDS_SLOT]
        ahead = {f.node for f in begun if f.ahead}
        freed = {
            str(entry.identity)
            for machine in self.world.machines
            if machine.name in ahead
            for entry in machine.journal.entries()
            if entry.mark not in HOLDS_SLOT
        }
        open_ = Counter(f.node for f in begun if f"{f.run}.{f.attempt}.{f.lease}" not in freed)
        whole = [machine.name for machine in self.world.machines if machine.disks == 1]
        for name, count in open_.items():
            must(
                name not in whole or count <= self._most(tx, name),
                f"{name} has {count} jobs on {self._most(tx, name)} slots",
            )

    def bound_ahead_or_for_a_free_slot(self, tx: Transaction, lease: Lease, known: list[Lease]) -> None:
        """What is not to wait on its node is bound only where a slot is free of all that was bound before."""
        there = [one for one in known if one.node == lease.node and one.state is not LeaseState.CLOSED]
        taken, most = sum(holds_slot(one) or waits_there(one) for one in there), self._most(tx, lease.node)
        must(
            lease.ahead or taken < most, f"{lease.run}: bound to {lease.node} beside {taken} on {most} slots"
        )
        waiting = sum(map(waits_there, there))
        room = most * self.coordinator.rules.ahead
        must(not lease.ahead or waiting < room, f"{lease.run}: {waiting} wait on {lease.node} already")

    def _most(self, tx: Transaction, name: str) -> int:
        node, machine = tx.get(Node, name), next(m for m in self.world.machines if m.name == name)
        return max(machine.most_slots, node.slots if node else 0)

    def an_identity_names_one_job(self) -> None:
        """(run, attempt, lease) stands for one job everywhere; for a node an epoch is of one life."""
        for machine in self.world.machines:
            lives: dict[int, int] = {}
            for entry in machine.journal.entries():
                if entry.mark is Mark.REFUSED:
                    continue
                name = str(entry.identity)
                first = self._accepted.setdefault(name, entry.digest)
                must(first == entry.digest, f"{name} names two jobs")
                life = self.truth.lives.get(entry.digest)
                if life is not None:
                    begun = lives.setdefault(entry.epoch, life)
                    must(begun == life, f"epoch {entry.epoch} was used in lives {begun} and {life}")

    # -- money ----------------------------------------------------------------------------------

    def _ceiling_of(self, scope: str) -> Decimal | None:
        """As users have set it: for this scope, else for all of its kind; days have one by themselves."""
        kind = scope.partition(":")[0]
        usual = self.coordinator.rules.ceiling_usd if kind == "day" else None
        return self.ceilings.get(f"ceiling:{scope}", self.ceilings.get(f"ceiling:{kind}", usual))

    def books_balance(self, entries: list[BookEntry], balances: list[Balance]) -> None:
        """Sum of entries = balance; no hold was ever granted over the ceiling, but for what is spent already;
        nothing negative is held."""
        for entry in entries[self._entries :]:
            now = books.apply_entry(self._running.get(entry.scope, Balance(entry.scope)), entry)
            self._running[entry.scope] = now
            ceiling = self._ceiling_of(entry.scope)
            granted = entry.kind is EntryKind.RESERVE and entry.note not in books.SPENT_ALREADY
            if granted and entry.usd and ceiling is not None:
                over = now.spent_usd + now.reserved_usd > ceiling
                must(not over, f"{entry}: a hold over the ceiling {ceiling}: {now}")
            if entry.kind is EntryKind.RESERVE:
                self.work_fits(entry, now)
        self._entries = len(entries)
        for balance in balances:
            if balance != self._running[balance.scope]:  # told only then: it is long, and asked at every step
                must(False, f"books: {balance} {self._running}")
            held = (balance.reserved_usd >= 0, balance.reserved_tokens >= 0, balance.reserved_ms >= 0)
            must(all(held), f"{balance.scope}: less than nothing is held: {balance}")

    def work_fits(self, entry: BookEntry, now: Balance) -> None:
        """Tokens and time as users have limited them, for this scope or else for all of its kind."""
        kind = entry.scope.partition(":")[0]
        said = self.work.get(f"ceiling-work:{entry.scope}", self.work.get(f"ceiling-work:{kind}", {}))
        tokens, ms = said.get("tokens"), said.get("ms")
        if entry.reserved_tokens and tokens is not None:
            must(
                now.tokens + now.reserved_tokens <= tokens, f"{entry.run}: a hold over {tokens} tokens: {now}"
            )
        if entry.reserved_ms and ms is not None:
            must(now.agent_ms + now.reserved_ms <= ms, f"{entry.run}: a hold over {ms} ms: {now}")

    # -- machines -------------------------------------------------------------------------------

    def processes_keep_the_rules(self, runs: dict[str, Run]) -> None:
        """Ground truth: slots, no second start, nothing on torn files, nothing refused or stopped before."""
        everywhere: Counter[str] = Counter()
        for machine in self.world.machines:
            alive = {who for who, _ in machine.alive()}
            most = machine.most_slots
            must(len(alive) <= most, f"{machine.name} runs {len(alive)} on {most} slots")
            everywhere.update(who.run for who in alive)  # each attempt, also beside another on one node
            twice = [folder for folder, n in Counter(machine.host.spawns).items() if n > 1]
            must(not twice, f"{machine.name} started twice: {twice}")
            torn = machine.host.built_on_torn
            must(not torn, f"{machine.name} built upon what a power cut had torn: {torn}")
            self._refused_never_started(machine.name)
            self._set_up_before_it_started(machine, runs)
        for run_id, count in everywhere.items():
            run = runs.get(run_id)
            asked = run is None or run.read_only or run.on_lost == "retry"
            asked = asked or run_id in self.truth.restored | self.truth.lied_of
            must(count == 1 or asked, f"{run_id} writes and runs in two places")

    def what_was_replaced_is_ended(self, nodes: list[Node]) -> None:
        """Where a node is heard, an attempt does not continue for which another was bound long ago."""
        ours = {node.name for node in nodes if node.removed is None and node.quarantined is None}
        for machine in self.world.machines:
            for who, _ in machine.alive() if machine.name in ours else ():
                newer = [at for (run, n), at in self._bound_at.items() if run == who.run and n > who.lease]
                since = self.world.server.ms - min(newer, default=self.world.server.ms)
                known = who.run not in self.truth.restored | self.truth.lied_of
                both = min(since, self.truth.contact_ms[machine.name])
                must(both < REPLACED_MS or not known, f"{machine.name} still runs {who} after {both} ms")

    def _set_up_before_it_started(self, machine: Machine, runs: dict[str, Run]) -> None:
        """An agent starts where set-up ended, or where what it makes was put back, and never with both."""
        for name in {folder.split("/")[2] for folder in machine.host.spawns if folder.count("/") == 2}:
            run = runs.get(name.split(".")[0])
            if run is None or not run.setup or name not in machine.host.trees:
                continue
            must(name in machine.host.set_up, f"{machine.name} started {name} without its set-up")
            ran, log = f"/journal/{name}/set-up" in machine.host.spawns, f"/journal/{name}/setup"
            must(
                ran != (log in machine.host.logs), f"{name}: set-up ran: {ran}, and was put back, or neither"
            )

    def _refused_never_started(self, name: str) -> None:
        machine = next(m for m in self.world.machines if m.name == name)
        if not machine.host.spawns:
            return
        started = {folder.split("/")[2] for folder in machine.host.spawns if folder.count("/") == 2}
        refused = {str(e.identity) for e in machine.journal.entries() if e.mark is Mark.REFUSED}
        must(not started & refused, f"{name} refused and started {started & refused}")
        stopped = started & {*self.truth.held, *machine.journal.node().stops}
        must(not stopped, f"{name} started {stopped} after it had read their stop")

    def nothing_is_deleted_before_it_is_acknowledged(self, receipts: set[tuple[str, int]]) -> None:
        """A checkout goes only when the coordinator has the receipt on record."""
        if self.truth.restored:
            return
        for machine in self.world.machines:
            started = {folder.split("/")[2] for folder in machine.host.spawns}
            for name in started - set(machine.host.trees):
                run, _, lease = name.split(".")
                must((run, int(lease)) in receipts, f"{machine.name} deleted {name} unacknowledged")

    def accepted_means_true_and_there(self, tx: Transaction, receipts: list[StoredReceipt]) -> None:
        """It is of what was ordered, was complete when it was accepted, and is the only one of its lease."""
        for stored in receipts:
            if stored.digest in self._stored or stored.rejected is not None or stored.orphan:
                continue
            self._stored.add(stored.digest)
            there = self.truth.evidence.get(stored.envelope)
            must(there is True, f"{stored.run}: accepted without its evidence ({there})")
            claims = claims_in(stored.envelope)
            run, lease = tx.get(Run, stored.run), tx.get(Lease, stored.run, stored.lease)
            must(run is not None and lease is not None, f"{stored.run}: a receipt of nothing was accepted")
            said = (claims["node"], claims["order"], claims["runtime"])
            due = (lease.tag, lease.digest, run.runtime) if run and lease else None
            must(said == due, f"{stored.run}: accepted {said}, ordered was {due}")
        accepted = Counter((r.run, r.lease) for r in receipts if r.rejected is None and not r.orphan)
        must(all(n == 1 for n in accepted.values()), f"two receipts of one lease: {accepted}")
