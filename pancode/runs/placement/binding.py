"""Gives waiting runs to nodes that requested work: one signed job per free slot, and some in advance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from decimal import Decimal
from functools import partial
from itertools import chain

from node_agent.wire.job import Job
from pancode.agents.endpoints import describe_server
from pancode.budget import books
from pancode.budget.track_record_rules import TrackRecord, WorkerKind, of_nodes, worker_kind
from pancode.kernel.errors import UnavailableError, WorkspaceError
from pancode.kernel.node import NodeView
from pancode.kernel.ports import Offer, SnapshotTaken, Transaction
from pancode.kernel.records import Attempt, Balance, GpuHold, Lease, LeaseState, Run, Setting, WaitReason
from pancode.kernel.values import replace
from pancode.runs.core import CEILING, WORK_CEILING, Core, open_leases
from pancode.runs.life.binding import Bound, Due, Waits
from pancode.runs.life.case import RunCase, holds_slot, place_in_line
from pancode.runs.life.changes import decide
from pancode.runs.life.ends import Unbindable
from pancode.runs.life.jobs import (
    RESERVED,
    identity_of,
    job_for,
    lease_of,
    may_push,
    seal_copied,
    workspace_of,
)
from pancode.runs.life.retries import without_session
from pancode.runs.placement import breaker_service
from pancode.runs.placement.candidates import closes_gpus, gpus_seen
from pancode.runs.placement.placement import Placed, Standing, Unplaced, decide_placements, in_order
from pancode.runs.placement.preemption import GivingWay
from pancode.runs.placement.prefetch import Lines, TakingBack, list_staying, most_usd
from pancode.runs.restored.hold import WHY_ASKED, WHY_HELD, list_held
from pancode.runs.restored.requests import may_begin_work
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.waiting_runs import WaitingRun, WaitingRuns, in_turn

_OF_NODES = (f"{CEILING}node", f"{WORK_CEILING}node")


def standing_of(
    work: Work, waiting: list[Run], at: tuple[list[NodeView], dict[str, int]], lines: Lines
) -> Standing:
    """Return the state for placement. `at`: nodes, and free slots by node; `lines`: jobs waiting on nodes."""
    core, tx = work.core, work.tx
    views, free = at
    paused = tx.get(Setting, "paused")
    settings = tx.find(Setting)
    having = [view for view in views if view.last is not None and view.last.heartbeat.facts.gpus]
    holds, freed = tx.find(GpuHold) if having else [], core.live.contacts.freed
    queues = {s.name.removeprefix("pause:"): str(s.value) for s in settings if s.name.startswith("pause:")}
    return Standing(
        nodes=tuple(views),
        free=free,
        hurry=core.live.binding.speed.why,
        paused=str(paused.value) if paused else None,
        paused_queues=queues,
        resting=breaker_service.list_resting(core),
        shunned=breaker_service.kept_from(core, tx, waiting, views),
        due=_read_due(tx, waiting, has_rooms(tx)),
        records=_read_records(core, waiting) if len(views) > 1 else {},
        room=_read_room(core, tx, views) if any(s.name.startswith(_OF_NODES) for s in settings) else {},
        gpus={v.node.name: gpus_seen(v, holds, freed.get(v.node.tag or "", ())) for v in having},
        ahead=lines.room(),
        lines=lines.lengths(),
        staying=list_staying(core, tx, waiting),
        most_usd=lambda run: most_usd(core, tx, work.case(run)),
    )


def has_rooms(tx: Transaction) -> bool:
    """Whether any node has its own ceiling, so that a run's reservation limits where the run may go."""
    return any(tx.starting(Setting, name, 1) for name in _OF_NODES)


def _read_records(core: Core, waiting: list[Run]) -> dict[WorkerKind, Mapping[str, TrackRecord]]:
    """Return the track records that are already in memory; none are read from the ledger here."""
    known = core.live.recent
    sums = known.sums if known is not None else {}
    return {kind: of_nodes(sums, *kind) for kind in {worker_kind(run) for run in waiting}} if sums else {}


def _read_room(
    core: Core, tx: Transaction, views: list[NodeView]
) -> dict[str, tuple[Balance, books.Ceilings]]:
    """Return the balance and ceilings of each node that has its own ceilings, by node."""
    room = {}
    for name in (view.node.name for view in views):
        scope = books.node_scope(name)
        ceilings = core.ceilings(tx, scope)
        if ceilings != books.NO_CEILING:
            room[name] = tx.get(Balance, scope) or Balance(scope), ceilings
    return room


def _read_due(tx: Transaction, waiting: list[Run], all_of_them: bool) -> dict[str, Decimal]:
    """Return the USD reserved by later attempts, by run, which may be less than the estimate; `all_of_them`:
    also by first attempts that were handed over before."""
    later = [
        (run.id, tx.get(Attempt, run.id, run.attempt)) for run in waiting if all_of_them or run.attempt > 1
    ]
    return {run: attempt.reserved_usd for run, attempt in later if attempt is not None}


def free_slots(view: NodeView, leases: list[Lease], freed: Collection[str], hurry: str = "") -> int:
    """Return the node's slots minus the leases that may use one, by the coordinator's and the node's count.

    The node's count is as of its last heartbeat, so attempts ended since then (`freed`) are subtracted. In a
    `hurry`, a node whose number of slots varies gets its owner's lower bound.
    """
    if view.last is None:
        return 0
    gpus = view.last.heartbeat.ask
    ours = {str(identity_of(f)) for f in leases if f.node == view.node.name and holds_slot(f)}
    theirs = {str(i) for i in gpus.open}.difference(freed)
    most = min(gpus.slots, view.node.slots)
    return (most if not hurry or view.node.least is None else min(most, view.node.least)) - len(ours | theirs)


MANY, MANY_TICKETS = 16, 4
SHOW_MS = 500
"""If more than MANY runs wait, reasons and tickets are updated at most once in this many milliseconds."""
LONG, MOST_EXPLAINED = 64, 8
"""In a queue longer than LONG, one update records the reason of at most this many more runs that wait for the
same thing."""


def bind_runs(core: Core, everything: bool = False) -> int:
    """Bind the runs that can be bound now; return how many jobs were signed. Pushing the jobs is a separate
    step. `everything`: hand over as many jobs as the nodes accept, not only a few for each slot."""
    with unit_of_work(core) as work:
        return bind_in(work, everything)


def bind_in(work: Work, everything: bool = False) -> int:
    """Bind runs as `bind_runs` does, but inside a transaction, whose commit makes the jobs durable."""
    core, tx = work.core, work.tx
    queue = core.kept.waiting(tx)
    many = len(queue.all)
    if not many:
        work.after(partial(setattr, core.live.binding, "waiting", 0))
        return 0
    views, leases = core.views(tx), open_leases(tx)
    freed, lines = core.live.contacts.freed, Lines(core, views, leases, everything)
    hurry = core.budget_hurry(tx)
    slots = {v.node.name: free_slots(v, leases, freed.get(v.node.tag or "", ()), hurry) for v in views}
    free = lines.less(slots)
    if (
        not everything
        and _is_explained(core, many)
        and not any(slots > 0 for slots in (*free.values(), *lines.room().values()))
    ):
        return 0
    turn = _Turn(work, queue, {lease.run for lease in leases})
    turn.explain_held()
    firsts = turn.firsts()
    work.after(partial(setattr, core.live.binding, "waiting", len(firsts)))
    boot = core.ports.clock.boot_ms()
    looks = bool(lines.waiting) and boot - core.live.binding.recalled_ms >= core.rules.look_ms
    if not firsts and not looks:
        return 0
    whole = everything or _is_whole(work, many)
    standing = standing_of(work, firsts, (views, free), lines)
    if not whole and not standing.has_room:
        return 0
    giving = GivingWay(work, leases, standing)
    placed = _place(work, turn, standing, giving, whole)
    if whole:
        turn.explain_more()
    if looks:
        work.after(partial(setattr, core.live.binding, "recalled_ms", boot))
        back = TakingBack(work, lines, standing)
        back.ask(turn.left(free), [one.run for one in turn.in_vain.values()])
        giving = GivingWay(work, leases, replace(standing, free=slots))
        for first in back.firsts(slots):
            if first.run.reason != (why := giving.why(first)):
                work.signal(first.run, Waits("placement", why, WaitReason.HANDED))
    return placed


def _place(work: Work, turn: _Turn, standing: Standing, giving: GivingWay, whole: bool) -> int:
    """Bind runs in order, and record why other runs wait; return how many were bound."""
    core, placed, probes = work.core, 0, set[str]()
    for decision in decide_placements(turn.served(), standing, whole):
        if isinstance(decision, Placed):
            name = decision.node.node.name
            if not breaker_service.is_second_probe(core, decision.run, name, probes):
                placed += _bind_run(work, decision)
                turn.taken.update([name] if not decision.busy else ())
            elif decision.run.reason != (why := f"the breaker of {name} first lets another run through"):
                work.signal(decision.run, Waits("placement", why, WaitReason.QUEUED))
            continue
        if decision.run.id not in turn.alone:
            turn.in_vain.setdefault(turn.wish_of(decision.run), decision)
        if decision.run.reason != (why := giving.why(decision)):
            work.signal(decision.run, Waits("placement", why, decision.kind))
    return placed


class _Turn:
    """The waiting runs that may be bound in this pass; each is read from the ledger only when needed."""

    def __init__(self, work: Work, queue: WaitingRuns, bound: set[str]) -> None:
        self._work, self._queue, self._bound = work, queue, bound
        core, self._held = work.core, list_held(work.tx)
        self._is_clear = may_begin_work(core)
        self.alone: Set[str] = {*core.live.journals.strays, *breaker_service.list_shunned(core)}
        """Runs that are decided individually, not with others of the same requirements."""
        if breaker_service.any_open(core) or has_rooms(work.tx):
            self.alone = queue.all.keys()
        self._ready: dict[str, Run | None] = {}
        self.taken = Counter[str]()
        """How many slots of each node this pass has used."""
        self.in_vain: dict[object, Unplaced] = {}
        """By wish (a run's requirements): the decision on the first run that found no place."""
        self._groups: list[Iterator[WaitingRun]] = []
        for group in queue.groups(self._may_begin, self.alone):
            first = next((one for one in group if self._run(one) is not None), None)
            if first is not None:
                self._groups.append(chain([first], group))

    def left(self, free: Mapping[str, int]) -> dict[str, int]:
        """Return the free slots that this pass has not used, by node."""
        return {name: slots - self.taken[name] for name, slots in free.items()}

    def wish_of(self, run: Run) -> object:
        return self._queue.all[run.id].wish

    def firsts(self) -> list[Run]:
        """Return the first ready run of each group of runs with the same requirements, in placement order."""
        return in_order(run for run in self._ready.values() if run is not None)

    def served(self) -> Iterator[Run]:
        """Yield the runs in order; skip a run once another with the same requirements found no slot."""
        for one in in_turn(self._groups, self.in_vain):
            run = self._run(one)
            if run is not None:
                yield run

    def explain_more(self) -> None:
        """Record why other runs with the same requirements wait; in a long queue, only some per update."""
        left = MOST_EXPLAINED if len(self._queue.all) > LONG else LONG
        for wish, decision in self.in_vain.items():
            for name in self._queue.unexplained(wish, decision.why, self.alone, left):
                run = self._work.tx.get(Run, name)
                # This run may have been given the slot of a session.
                waits = name not in self._bound and name != decision.run.id
                if run is not None and waits and run.reason != decision.why:
                    self._work.signal(run, Waits("placement", decision.why, decision.kind))
                    left -= 1

    def explain_held(self) -> None:
        """Record why the runs wait that are held since a restore, and those that begin once the nodes have
        reported."""
        asked = () if self._is_clear else sorted(self._queue.all.keys() - self._held)[:LONG]
        for name in (*sorted(self._queue.all.keys() & self._held), *asked):
            run, why = self._work.tx.get(Run, name), WHY_ASKED if name in asked else WHY_HELD
            is_other = run is not None and not (run.waits is not None and run.waits.is_held)
            if run is not None and is_other and run.reason != why and name not in self._bound:
                self._work.signal(run, Waits("placement", why, WaitReason.RESTORED))

    def _may_begin(self, one: WaitingRun) -> bool:
        """Whether the run may begin, as far as memory shows; a run with a long pause is included."""
        rules = self._work.core.rules
        left = (one.retry_at_ms or 0) - self._work.core.wall_ms()
        is_pausing = 0 < left <= max(rules.refused_pause_ms, rules.retry_pause_ms)
        run = one.ticket.run
        is_clear = self._is_clear and run not in self._held
        return is_clear and not one.held and not is_pausing and run not in self._bound

    def _run(self, one: WaitingRun) -> Run | None:
        """Return the run from the ledger if its pause is over and it has its reservation; else None."""
        name = one.ticket.run
        if name not in self._ready:
            run = self._work.tx.get(Run, name)
            is_due = run is not None and _is_due(self._work, run) and not _may_still_run(self._work, run)
            self._ready[name] = run if run is not None and is_due and _has_hold(self._work, run) else None
        return self._ready[name]


def _is_whole(work: Work, many: int) -> bool:
    """Whether this pass decides about all waiting runs, and not only about those for which a slot is free."""
    core = work.core
    if _is_explained(core, many):
        return False
    work.after(partial(setattr, core.live.binding, "explained_ms", core.ports.clock.boot_ms()))
    return True


def _is_explained(core: Core, many: int) -> bool:
    """Whether many runs wait and their reasons were recorded less than SHOW_MS ago."""
    return many > MANY and 0 <= core.ports.clock.boot_ms() - core.live.binding.explained_ms < SHOW_MS


def push_offers(core: Core) -> None:
    """Push each signed job that may still start to its node's queue; a repeated push sends the same bytes."""
    now, boot = core.now(), core.ports.clock.boot_ms()
    with core.ports.ledger.transaction() as tx:
        offered = tx.find(Lease, {"state": LeaseState.OFFERED})
    keys = {str(identity_of(lease)) for lease in offered}
    core.live.binding.pushed_ms = {key: ms for key, ms in core.live.binding.pushed_ms.items() if key in keys}
    due = []
    for lease in sorted(offered, key=place_in_line):
        last = core.live.binding.pushed_ms.get(str(identity_of(lease)))
        if (last is None or boot - last >= core.rules.push_again_ms) and may_push(lease, now):
            due.append(Offer(lease.tag, identity_of(lease), lease.job))
    core.ports.bus.push_jobs(due)
    core.live.binding.pushed_ms.update((str(offer.identity), boot) for offer in due)


def show_tickets(core: Core) -> None:
    """Write tickets of waiting runs to the pool queues if these have changed; a long queue less often."""
    boot, known = core.ports.clock.boot_ms(), core.live.binding
    pause = max(SHOW_MS, known.shown) if known.shown > MANY_TICKETS else 0
    if boot - known.shown_ms < pause:
        return
    with core.ports.ledger.transaction() as tx:
        queue = core.kept.waiting(tx)
        bound = {f.run for f in open_leases(tx)} & queue.all.keys() if queue.all else set[str]()
        state = queue.changes, bound
        if state == known.tickets:
            return
        tickets = [one.ticket for one in queue.in_order(bound)]
    core.ports.bus.show_tickets(tickets)
    known.tickets, known.shown, known.shown_ms = state, len(tickets), boot


def _is_due(work: Work, run: Run) -> bool:
    """Whether the run's pause is over. A long pause was requested by a provider; it also ends if the wall
    clock was set back to before the end of the previous attempt."""
    if run.waits is not None and run.waits.is_held:
        return False
    rules, now = work.core.rules, work.core.wall_ms()
    left = 0 if run.retry_at_ms is None else run.retry_at_ms - now
    if left <= max(rules.refused_pause_ms, rules.retry_pause_ms):
        return left <= 0
    before = work.tx.get(Attempt, run.id, run.attempt - 1)
    return before is None or before.finished_ms is None or now < before.finished_ms


def _may_still_run(work: Work, run: Run) -> bool:
    """Whether a node may still run an attempt that this restored ledger lacks; a tombstone was sent."""
    if not work.core.live.journals.strays.get(run.id) or run.read_only or run.on_lost == "retry":
        return False
    why = "a node is still ending an attempt that this ledger does not have"
    if run.reason != why:
        work.signal(run, Waits("placement", why, WaitReason.OLDER_ATTEMPT))
    return True


def _has_hold(work: Work, run: Run) -> bool:
    """Whether the attempt has its reservation: admission takes the first; later attempts take theirs here."""
    if run.attempt == 1:
        return True
    due = work.signal(run, Due(work.core.budget_scopes(work.tx, run)))
    return due.outcome is None and work.tx.get(Attempt, run.id, run.attempt) is not None


def _bind_run(work: Work, placed: Placed) -> bool:
    """Bind the run; return False on failure. A run for which no job can be made ends, and delays no other."""
    core, case, view = work.core, work.case(placed.run), placed.node
    try:
        _offer_what_is_left(core, case.run)
        job = _make_job(core, work.tx, case, placed)
    except WorkspaceError as exc:  # This happens if the coordinator's disk is full, for example.
        if case.run.reason != str(exc):
            work.signal(case.run, Waits("placement", str(exc), WaitReason.QUEUED))
        return False
    except (ValueError, KeyError, TypeError, ArithmeticError) as exc:
        work.apply(decide(case, Unbindable(f"cannot make a job for it: {exc}")))
        return False
    signed = job.signed(core.key_for(view.node))
    provider = breaker_service.provider_of(core, case.run, view.node.name)
    lease = lease_of(job, signed, view.node.name, provider)
    about = describe_server(case.run, view, core.wall_ms())
    work.apply(decide(case, Bound(lease, placed.why, about, placed.most_usd, placed.gpus)))
    return True


def _offer_what_is_left(core: Core, run: Run) -> None:
    """Make the earlier attempt's commit the snapshot that a continued run's attempt gets. WorkspaceError."""
    place = workspace_of(run)
    if place is not run.workspace:
        taken = SnapshotTaken(place["repo"], place["base"], place["snapshot"], place["object_format"])
        core.ports.depot.begin_at(run.id, taken)


def _make_job(core: Core, tx: Transaction, case: RunCase, placed: Placed) -> Job:
    """Return the job, with a lease number that was never used before."""
    node = placed.node.node
    if node.tag is None:
        raise UnavailableError(f"node {node.name} is not enrolled")
    run, left = case.run, case.left(case.run.attempt)
    left = placed.most_usd if left is None else left
    number = max(core.highest_lease(run), core.live.journals.floors.get(run.id, 0)) + 1
    start_by = core.now().plus(core.rules.start_by_ms * (TIMES_AHEAD if placed.busy else 1))
    run = run if run.resumes_on in (None, node.name) else without_session(run, first=False)
    due = run if left is None else replace(run, limits={**run.limits, "usd": f"{left:f}"})
    times = _choose_job_time(core, placed), start_by
    gpus = placed.gpus or (() if closes_gpus(placed.node) else None)
    copied = seal_copied(due, (core.key, *core.former.values()), node.public_key, number)
    tools, ahead = core.fleet_tools, bool(placed.busy)
    reserved = max(case.attempt.reserved_usd, placed.most_usd or books.ZERO)
    asks = placed.node.last is not None and placed.node.last.heartbeat.ask.asks_budget
    due = replace(due, limits={**due.limits, RESERVED: f"{reserved:f}"}) if asks else due
    return job_for(due, core.fleet, node.tag, number, times, tools, ahead, gpus, copied)


TIMES_AHEAD = 5
"""A node may take this many times as long to start a job that waits there: it first fetches the snapshot."""


def _choose_job_time(core: Core, placed: Placed) -> int:
    """Return the job's issue time, which grows with each job handed over ahead, as the order in the queue."""
    wall, last = core.wall_ms(), core.live.binding.handed_ms
    if placed.busy:
        wall = last + 1 if 0 <= last - wall < 1_000 else wall
        core.live.binding.handed_ms = wall
    return wall
