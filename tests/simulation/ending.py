"""What must be true once faults have stopped and every deadline has passed; and that reasons are true."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import FINAL, Mark
from node_agent.wire.signing import parse_envelope
from pancode.budget import books
from pancode.kernel.ports import Transaction
from pancode.kernel.records import (
    Attempt,
    Balance,
    BookEntry,
    ControlMessage,
    EntryKind,
    Lease,
    LeaseState,
    Node,
    Run,
    RunState,
    Setting,
    StoredReceipt,
)
from pancode.runs.core import open_leases
from pancode.runs.restored.attempts import NOT_ATTRIBUTED
from tests.simulation.invariants import must
from tests.simulation.machines import Machine
from tests.simulation.truth import claims_in
from tests.simulation.world import SimWorld


def at_the_end(world: SimWorld) -> None:
    """Every invariant of the end."""
    with world.coordinator.seen() as tx:
        every_run_has_ended(tx)
        at_most_one_attempt_won(tx, world)
        every_lease_is_closed(tx)
        no_reservation_is_left(tx)
        what_was_spent_is_booked(tx, world)
        what_was_told_of_work_is_booked(tx, world)
        no_unknown_cost_narrows_a_scope_for_ever(tx, world)
        nobody_ends_by_a_wait(tx, world)
        only_what_never_came_is_rejected(tx, world)
        every_word_was_heard(tx, world)
        every_receipt_of_a_node_is_booked(tx, world)
        for machine in world.machines:
            if not machine.gone:
                the_node_is_at_rest(tx, machine, world.truth.restored)
    if world.kind.name == "calm":
        nothing_went_wrong_by_itself(world)
    no_job_is_a_phantom(world)


def every_run_has_ended(tx: Transaction) -> None:
    """Each accepted run is in exactly one terminal outcome."""
    for run in tx.find(Run):
        must(run.state is RunState.ENDED, f"{run.id} never ended: {run.state} ({run.reason})")


def at_most_one_attempt_won(tx: Transaction, world: SimWorld) -> None:
    """One winner for a run; and for a run that was given up, none beside the new one."""
    winners = Counter(a.run for a in tx.find(Attempt) if a.outcome is Outcome.DONE)
    must(all(n == 1 for n in winners.values()), f"more than one attempt won: {winners}")
    for run_id in world.truth.given_up:
        run = tx.get(Run, run_id)
        must(run is None or run.outcome is Outcome.LOST, f"{run_id} was given up, then {run and run.outcome}")


def every_lease_is_closed(tx: Transaction) -> None:
    """No job stays open, no attempt without an outcome."""
    for lease in tx.find(Lease):
        closed = lease.state is LeaseState.CLOSED
        must(closed, f"lease {lease.run}.{lease.attempt}.{lease.lease} is {lease.state}")
    for attempt in tx.find(Attempt):
        must(attempt.outcome is not None, f"attempt {attempt.run}.{attempt.attempt} has no outcome")


def no_reservation_is_left(tx: Transaction) -> None:
    """What nobody can still spend is not reserved: by attempt and scope, but for a cost that is unknown."""
    held: Counter[tuple[str, int, str]] = Counter()
    unknown = set()
    for entry in tx.find(BookEntry):
        key = (entry.run, entry.attempt, entry.scope)
        held[key] += {EntryKind.RESERVE: 1, EntryKind.RELEASE: -1}.get(entry.kind, 0) * int(entry.usd * 100)
        if entry.kind is EntryKind.UNKNOWN:
            unknown.add(key)
    known = {(s.run, s.attempt) for s in tx.find(StoredReceipt) if _known_cost(s) is not None}
    for key, cents in held.items():
        must(cents == 0 or (key in unknown and key[:2] not in known), f"{key} still reserves {cents} cents")
    for key, work in _held_work(tx).items():
        must(work == (0, 0) or (key in unknown and key[:2] not in known), f"{key} still reserves {work}")


def _held_work(tx: Transaction) -> dict[tuple[str, int, str], tuple[int, int]]:
    """Tokens and milliseconds, by attempt and scope."""
    held: dict[tuple[str, int, str], tuple[int, int]] = {}
    for entry in tx.find(BookEntry):
        key = (entry.run, entry.attempt, entry.scope)
        tokens, ms = held.get(key, (0, 0))
        held[key] = tokens + entry.reserved_tokens, ms + entry.reserved_ms
    return held


def no_unknown_cost_narrows_a_scope_for_ever(tx: Transaction, world: SimWorld) -> None:
    """What is reserved for an unknown cost of another day is reserved in that day alone."""
    assert world.coordinator.core is not None
    core = world.coordinator.core
    today = books.day_scope(world.clock.wall_ms(), core.tz)
    held: Counter[tuple[str, int, str]] = Counter()
    days: dict[tuple[str, int, str], list[str]] = {}
    unknown = set()
    for entry in tx.find(BookEntry):
        key = (entry.run, entry.attempt, entry.scope)
        held[key] += {EntryKind.RESERVE: 1, EntryKind.RELEASE: -1}.get(entry.kind, 0) * int(entry.usd * 100)
        if entry.kind in (
            EntryKind.RESERVE,
            EntryKind.UNKNOWN,
        ):  # the clock may have been set back between them
            days.setdefault(key, []).append(books.day_scope(entry.at_ms, core.tz))
        if entry.kind is EntryKind.UNKNOWN:
            unknown.add(key)
    work = _held_work(tx)
    for key in unknown:
        lasting = not key[2].startswith("day:") and max(days[key]) < today
        must(
            not (lasting and (held[key] or any(work[key]))),
            f"{key} still reserves {held[key]} cents and {work[key]}, of {days[key]}, it is {today}",
        )


def nobody_ends_by_a_wait(tx: Transaction, world: SimWorld) -> None:
    """Where machines are only full, or their owners stricter for a while, no run is given up for it."""
    for attempt in tx.find(Attempt) if world.kind.name == "owners" else ():
        refused = attempt.failure is FailureKind.NODE_INTERNAL and "refused the job" in attempt.reason
        must(not refused, f"{attempt.run} was given up: {attempt.reason}")


def what_was_spent_is_booked(tx: Transaction, world: SimWorld) -> None:
    """The costs that accepted receipts swear to are in the day's books: spent up to the limit of their job,
    disputed beyond it."""
    spends = (EntryKind.SPEND, EntryKind.CORRECT)
    for (run, attempt), receipts in _accepted(tx).items():
        costs = [cost for stored in receipts if (cost := _known_cost(stored)) is not None]
        if not costs or run in world.truth.lied_of:
            continue
        entries = [e for e in tx.find(BookEntry, {"run": run}) if e.attempt == attempt]
        day = [e for e in entries if e.scope.startswith("day:")]
        booked = sum((e.usd for e in day if e.kind in spends), Decimal(0))
        disputed = sum((e.usd for e in day if e.kind is EntryKind.DISPUTED), Decimal(0))
        must(
            booked + disputed == sum(costs), f"{run}.{attempt} cost {costs}, booked is {booked} + {disputed}"
        )
        ordered = tx.get(Run, run)
        limit, most = ordered.limits.get("usd") if ordered is not None else None, max(costs)
        within = limit is None or booked <= len(costs) * Decimal(str(limit))
        must(within, f"{run}.{attempt} has {booked} spent, its limit is {limit}")
        first = attempt == 1 and limit is not None and most <= Decimal(str(limit))
        must(not disputed or not first, f"{run}.{attempt} cost {costs} within {limit}, and is disputed")


def every_receipt_of_a_node_is_booked(tx: Transaction, world: SimWorld) -> None:
    """After a restore each receipt that a node has is in the ledger; that of a run which the ledger lacks is
    booked once, as not attributed."""
    for machine in world.machines if world.truth.restored else ():
        if machine.gone or machine.disks > 1:
            continue
        for entry in machine.journal.entries():
            text = machine.journal.receipt(entry.identity)
            if text is None or entry.identity.run in world.truth.lied_of:
                continue
            stored = tx.get(StoredReceipt, parse_envelope(text).digest())
            must(stored is not None, f"{machine.name} has a receipt of {entry.identity}, the ledger has not")
            assert stored is not None
            mine = [e for e in tx.find(BookEntry, {"run": stored.run}) if e.scope == NOT_ATTRIBUTED]
            booked = [e for e in mine if e.kind is EntryKind.SPEND and e.lease == stored.lease]
            must(len(booked) == stored.orphan, f"{entry.identity} is booked {len(booked)} times")


def _accepted(tx: Transaction) -> dict[tuple[str, int], list[StoredReceipt]]:
    """By run and attempt: more than one where two nodes ran it."""
    found: dict[tuple[str, int], list[StoredReceipt]] = {}
    for stored in tx.find(StoredReceipt):
        if not stored.orphan and stored.rejected is None:
            found.setdefault((stored.run, stored.attempt), []).append(stored)
    return found


def what_was_told_of_work_is_booked(tx: Transaction, world: SimWorld) -> None:
    """Tokens and time of every accepted receipt, in the day's books; what none names stays reserved."""
    for stored in tx.find(StoredReceipt):
        if stored.orphan or stored.rejected is not None or stored.run in world.truth.lied_of:
            continue
        usage = claims_in(stored.envelope)["usage"]
        told = (int(usage["input_tokens"]) + int(usage["output_tokens"]), int(usage["agent_ms"]))
        mine = [e for e in tx.find(BookEntry, {"run": stored.run}) if e.attempt == stored.attempt]
        mine = [e for e in mine if e.scope.startswith("day:")]
        booked = sum(e.tokens for e in mine), sum(e.agent_ms for e in mine)
        left = sum(e.reserved_tokens for e in mine), sum(e.reserved_ms for e in mine)
        given = [(e.reserved_tokens, e.reserved_ms) for e in mine if e.kind is EntryKind.RESERVE]
        untold = usage["cost_usd"] is None and not any(e.kind is EntryKind.RELEASE for e in mine)
        for one in (0, 1) if mine else ():
            must(booked[one] >= told[one], f"{stored.run}: told {told}, booked is {booked}")
            enough = booked[one] + left[one] >= sum(hold[one] for hold in given)
            must(
                enough or not untold or bool(told[one]), f"{stored.run}: nobody told, and {left} is reserved"
            )


def _known_cost(stored: StoredReceipt) -> Decimal | None:
    """What an accepted receipt swears to have spent."""
    cost = claims_in(stored.envelope)["usage"].get("cost_usd")
    counts = not stored.orphan and stored.rejected is None and cost is not None
    return Decimal(cost) if counts else None


def only_what_never_came_is_rejected(tx: Transaction, world: SimWorld) -> None:
    """Bytes that were lost are asked for and sent again; a receipt is rejected when they never come."""
    for attempt in tx.find(Attempt) if world.kind.name == "depot" else ():
        rejected = attempt.failure is FailureKind.RECEIPT_REJECTED
        kept = not any(s.startswith(f"{attempt.run}.{attempt.attempt}.") for s in world.swallowed)
        must(not (rejected and kept), f"{attempt.run}: rejected, although it could have been sent again")


def every_word_was_heard(tx: Transaction, world: SimWorld) -> None:
    """No control message to a living node of the fleet is still on its way."""
    removed = {node.tag for node in tx.find(Node) if node.removed is not None}
    tags = {machine.tag for machine in world.machines if not machine.gone} - removed
    left = [(m.tag, m.seq) for m in tx.find(ControlMessage) if m.tag in tags]
    must(not left, f"controls that were never heard: {left}")
    for node in tx.find(Node):
        machine = next(m for m in world.machines if m.name == node.name)
        if not machine.gone and node.removed is None:
            same = machine.journal.node().draining == (node.draining is not None)
            must(same, f"{node.name}: the ledger says draining {node.draining!r}, the node does not agree")


def the_node_is_at_rest(tx: Transaction, machine: Machine, restored: set[str]) -> None:
    """Every attempt is final and answered as the ledger says; nothing runs; no checkout is left behind."""
    rejected = set()
    # A removed node loses its Redis user once the ledger has its receipts, perhaps before the answer.
    removed = any(one.removed is not None for one in tx.find(Node, {"name": machine.name}))
    for entry in machine.journal.entries():
        if removed and entry.mark is Mark.RECEIPTED:
            must(
                tx.get(StoredReceipt, entry.receipt or "") is not None, f"{entry.identity}: not in the ledger"
            )
            rejected.add(str(entry.identity))
            continue
        must(entry.mark in FINAL, f"{machine.name}: {entry.identity} is only {entry.mark}")
        if entry.mark is Mark.ACKNOWLEDGED:
            must(
                entry.receipt is not None, f"{machine.name}: {entry.identity} acknowledged without a receipt"
            )
        if entry.mark is Mark.REJECTED:
            rejected.add(str(entry.identity))
            forgotten = entry.identity.run in restored
            stored = tx.get(StoredReceipt, entry.receipt or "")
            must(
                forgotten or (stored is not None and stored.rejected is not None),
                f"{entry.identity} rejected, not on record",
            )
    must(not machine.alive(), f"{machine.name} still runs {machine.alive()}")
    left = set(machine.host.trees) - rejected
    must(not left, f"{machine.name} keeps {left}")


def nothing_went_wrong_by_itself(world: SimWorld) -> None:
    """Without a fault there is no refusal but for a stop, a drain or fewer slots, and nothing is lost."""
    fine = {JobRefusal.STOPPED, JobRefusal.DRAINING}
    with world.coordinator.seen() as tx:
        for run in tx.find(Run):
            must(run.outcome is not Outcome.LOST, f"{run.id} was lost in calm weather")
    for machine in world.machines:
        for entry in machine.journal.entries():
            why = str(entry.data.get(Mark.REFUSED, {}).get("why", "")).partition(":")[0]
            shrunk = machine.slots < machine.most_slots
            bad = why in {w.value for w in JobRefusal} - fine and not shrunk
            must(not bad, f"{machine.name} refused {entry.identity} in calm weather: {why}")
        counted = (
            {k.what for k in machine.agent.counts if k.what.startswith("refused: ")}
            if machine.agent
            else set()
        )
        allowed = {f"refused: {w}" for w in fine}
        must(counted <= allowed or machine.slots < machine.most_slots, f"{machine.name}: {counted}")


def no_job_is_a_phantom(world: SimWorld) -> None:
    """What Redis shows is what there is."""
    gone = {machine.tag for machine in world.machines if machine.gone}
    for queue in world.coordinator.redis.bus().queues():
        left = [*queue.waiting, *queue.started]
        mine = queue.name.removeprefix("node.") not in gone
        must(not left or not mine, f"queue {queue.name} still shows {left}")


def reasons_are_true(world: SimWorld) -> None:
    """A wait names a cause that is there: pause, drain, ceiling, a node that could really not be heard."""
    if not world.truth.turned:
        return
    with world.coordinator.seen() as tx:
        bound = {f.run for f in open_leases(tx)}
        for run in tx.find(Run, {"state": RunState.PENDING}):
            due = run.retry_at_ms is None or run.retry_at_ms <= world.clock.wall_ms()
            if run.id not in bound and due:
                _true_reason(world, tx, run)


def _true_reason(world: SimWorld, tx: Transaction, run: Run) -> None:
    why = run.reason
    if why.startswith("the fleet is paused"):
        must(tx.get(Setting, "paused") is not None, f"{run.id} says {why}")
    elif why.startswith("Dispatch blocked"):
        must(not _fits(world, tx, run), f"{run.id} waits for money that is there: {why}")
    else:
        for part in why.split("; "):
            _true_of_node(world, tx, run, part)


def _barely_silent(world: SimWorld, node: Node) -> bool:
    """Two heartbeats of 5 seconds, each seen a step of 3 late, are a little more than an ask is valid."""
    assert world.coordinator.core is not None
    silent = world.coordinator.core.view_of(node).silent_ms or 0
    return silent <= world.coordinator.rules.deadlines.ask_ms + max(world.kind.paces)


def _fits(world: SimWorld, tx: Transaction, run: Run) -> bool:
    assert world.coordinator.core is not None
    core = world.coordinator.core
    for scope in (books.day_scope(world.clock.wall_ms(), core.tz), books.agent_scope(run.agent)):
        balance, ceilings = tx.get(Balance, scope) or Balance(scope), core.ceilings(tx, scope)
        sums = (
            (balance.spent_usd + balance.reserved_usd + run.estimate_usd, ceilings.usd),
            (balance.tokens + balance.reserved_tokens + run.estimate_tokens, ceilings.tokens),
            (balance.agent_ms + balance.reserved_ms + run.estimate_ms, ceilings.ms),
        )
        if any(most is not None and all_ > most for all_, most in sums):
            return False
    return True


def _true_of_node(world: SimWorld, tx: Transaction, run: Run, part: str) -> None:
    name, _, said = part.partition(" ")
    machine = next((m for m in world.machines if m.name == name), None)
    node = tx.get(Node, name)
    if machine is None or node is None:
        return
    if said.startswith("is draining"):
        must(node.draining is not None, f"{run.id} says {part}")
    elif said in ("is suspect", "is unreachable", "is lost"):
        contact = world.truth.contact_ms[name]
        must(contact < 40_000, f"{run.id} says {part} after {contact} ms of contact")
    elif said == "has not requested work yet":
        fresh = world.truth.contact_ms[name] < 30_000
        calm = world.kind.name == "calm" and not fresh
        must(not calm or _barely_silent(world, node), f"{run.id} says {part} in calm weather")
    must(said != "is free", f"{run.id} waits although {part}")
