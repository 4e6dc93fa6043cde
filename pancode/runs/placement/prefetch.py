"""Jobs handed over to nodes ahead of a free slot: how many may wait there, and which are recalled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial

from node_agent.wire.control import TakeBack
from pancode.budget import books
from pancode.kernel.formatting import format_usd
from pancode.kernel.node import NodeView
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Lease, Run, WaitReason
from pancode.runs.core import Core
from pancode.runs.life.binding import handed_to
from pancode.runs.life.case import RunCase, cap_of, place_in_line, waits_there, why_it_stays
from pancode.runs.life.jobs import identity_of
from pancode.runs.placement.placement import (
    Standing,
    Unplaced,
    in_order,
    kept_back,
    needs_slot_at,
    stays_here,
    takes_now,
)
from pancode.runs.unit_of_work import Work


class Lines:
    """The jobs that wait on nodes, as seen in one pass of binding."""

    def __init__(
        self, core: Core, views: Iterable[NodeView], leases: Iterable[Lease], everything: bool = False
    ) -> None:
        """`everything`: hand over as many jobs as the nodes accept."""
        self._core, self._everything = core, everything
        self._views = {view.node.name: view for view in views}
        self.waiting: dict[str, list[Lease]] = {}
        """The waiting jobs by node, the next one to start first."""
        for lease in sorted(filter(waits_there, leases), key=place_in_line):
            self.waiting.setdefault(lease.node, []).append(lease)

    def many(self, name: str) -> int:
        return len(self.waiting.get(name, ()))

    def less(self, free: Mapping[str, int]) -> dict[str, int]:
        """Return the free slots by node, minus those that the jobs waiting on the node will take."""
        return {name: slots - self.many(name) for name, slots in free.items()}

    def room(self) -> dict[str, int]:
        """Return how many more jobs may wait on a node, by node, for nodes with room. The number is limited,
        because these jobs are stored in Redis."""
        small = {name for name in self._views if 4 * self._count_bytes(name) < self._core.rules.node_quota}
        room = {name: self._count_most(self._views[name]) - self.many(name) for name in small}
        return {name: more for name, more in sorted(room.items()) if more > 0}

    def _count_bytes(self, name: str) -> int:
        return sum(len(lease.job) for lease in self.waiting.get(name, ()))

    def lengths(self) -> dict[str, tuple[int, int]]:
        """Return how many jobs wait on a node, and how many slots it has, by node."""
        return {name: (self.many(name), max(1, _count_slots(view))) for name, view in self._views.items()}

    def is_not_to_wait(self, lease: Lease) -> bool:
        """Whether the job should not wait on its node: the setting allows none, or the node has no slot."""
        view = self._views.get(lease.node)
        return not self._core.rules.ahead or (view is not None and view.node.slots == 0)

    def _count_most(self, view: NodeView) -> int:
        holds = 0 if view.last is None else view.last.heartbeat.ask.ahead
        return holds if self._everything else min(holds, _count_slots(view) * self._core.rules.ahead)


def _count_slots(view: NodeView) -> int:
    return 0 if view.last is None else min(view.last.heartbeat.ask.slots, view.node.slots)


def list_staying(core: Core, tx: Transaction, waiting: Iterable[Run]) -> dict[str, str]:
    """Return why no run of a workflow may be handed over, by workflow."""
    firsts = {run.workflow: run for run in waiting if run.workflow is not None}
    found = {name: why_it_stays(run) or _ask_features(core, tx, run) for name, run in firsts.items()}
    return {name: why for name, why in found.items() if why}


def _ask_features(core: Core, tx: Transaction, run: Run) -> str:
    found = (hook.act(tx, run) for hook in core.extensions.stays if hook.concerns(run))
    return next((why for why in found if why), "")


def most_usd(core: Core, tx: Transaction, case: RunCase) -> tuple[Decimal | None, str]:
    """Return the USD that the attempt reserves once it is handed over (None: no paid model), and why a
    ceiling has no room for them; empty: it has."""
    run = case.run
    reserved = books.find_reserved(case.entries, run.attempt)
    before = max(reserved.values(), default=books.ZERO)
    usd = cap_of(run, case.left(run.attempt), core.rules.ahead_usd, before)
    if usd is None or usd <= before:
        return usd, ""
    budget_scopes = [(one, reserved[one.balance.scope]) for one in core.read_scopes(tx, reserved)]
    budget_scopes += [(budget_scope, before) for budget_scope in core.period_budget_scopes(tx)]
    for budget_scope, has in budget_scopes:
        more = books.Amount(books.subtract_amount(usd, has))
        if why := books.explain_refusal(budget_scope.balance, budget_scope.ceilings, more):
            scope = budget_scope.balance.scope
            return usd, f"{scope} has no room for its whole limit of {format_usd(usd)}: {why}"
    return usd, ""


class TakingBack:
    """Recalls jobs that should no longer wait on their nodes; each node answers which ones it gives back.
    Requests are stored in memory only: a restarted coordinator repeats them, which has no further effect."""

    def __init__(self, work: Work, lines: Lines, standing: Standing) -> None:
        self._work, self._lines, self._standing = work, lines, standing
        every = [lease for line in lines.waiting.values() for lease in line]
        runs = [(lease, work.tx.get(Run, lease.run)) for lease in every]
        self._runs = {identity_of(lease): run for lease, run in runs if run is not None}

    def ask(self, left: Mapping[str, int], in_vain: Sequence[Run]) -> None:
        """Recall jobs. `left`: slots free after this pass, by node; `in_vain`: runs that found no slot."""
        known, waiting, free = self._work.core.live.binding.recalled, dict[str, str](), dict(left)
        # Runs are in the order in which they would begin if all of them waited at the coordinator.
        found = {lease.run: lease for line in self._lines.waiting.values() for lease in line}
        for lease in [found[run.id] for run in in_order(self._runs.values())]:
            identity = identity_of(lease)
            key = f"{identity} {lease.mark}"
            run, goes_to = self._runs[identity], known.get(key)
            why = ""
            if goes_to is None and not lease.stop_sent:
                why, goes_to = self._explain_recall(run, lease, free, in_vain)
            if why:
                self._work.send(lease.node, TakeBack(identity=identity, reason=why))
                self._work.tell(run.id, "placement", lease.node, "recalled", why)
            if goes_to is not None and (why or key in known):
                waiting[key] = goes_to
                free[goes_to] = free.get(goes_to, 0) - 1
        self._work.after(partial(setattr, self._work.core.live.binding, "recalled", waiting))

    def firsts(self, slots: Mapping[str, int]) -> list[Unplaced]:
        """Return the next run that waits on each busy node, so that a session can be suspended for it."""
        busy = [line[0] for name, line in self._lines.waiting.items() if slots.get(name, 0) < 1]
        runs = [(self._runs.get(identity_of(lease)), handed_to(lease.node)) for lease in busy]
        return [Unplaced(run, why, WaitReason.NO_SLOT) for run, why in runs if run is not None]

    def _explain_recall(
        self, run: Run, lease: Lease, free: Mapping[str, int], in_vain: Sequence[Run]
    ) -> tuple[str, str | None]:
        """Return why the job is recalled (empty: it is not), and the node with a free slot for it."""
        standing, line = self._standing, self._lines.waiting[lease.node]
        if why := kept_back(run, lease.node, standing):
            return why, ""
        if self._lines.is_not_to_wait(lease):
            return f"no job may wait on {lease.node}", ""
        behind = [self._runs.get(identity_of(one)) for one in line[line.index(lease) + 1 :]]
        waiting = (one for one in in_vain if self._is_first(one, run))
        first = next((one for one in behind if one and one.priority > run.priority), None)
        first = first or next((one for one in waiting if lease.node in needs_slot_at(one, standing)), None)
        if first is not None:
            return f"run {first.id} comes before it", ""
        if run.resumes_on == lease.node:
            return "", None  # The run is tied to this node, which has its session.
        place = next((name for name in takes_now(run, standing, free) if name != lease.node), None)
        return (f"a slot is free on {place}", place) if place else ("", None)

    def _is_first(self, one: Run, run: Run) -> bool:
        """Whether `one`, waiting at the coordinator, comes before `run`; also by age if it must wait here."""
        if stays_here(one, self._standing):
            return in_order((run, one))[0] is one
        return one.priority > run.priority
