"""State shared by all use cases: ports, the fleet's identity and time, in-memory state, and the budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from node_agent.wire.clock import Clock, Ids
from node_agent.wire.fleet import FleetTool
from node_agent.wire.model import FleetTime
from node_agent.wire.signing import SigningKey
from pancode.agents.models import VendorList
from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel import records
from pancode.kernel.node import (
    REACHED,
    Deadlines,
    Listening,
    NodeView,
    OwnMachine,
    Reaching,
    awake_since,
    build_view,
)
from pancode.kernel.ports import Bus, DepotPort, Epochs, Ledger, ReceiptArchive, Transaction
from pancode.kernel.quota import ForeignReceipts
from pancode.kernel.values import replace
from pancode.runs.extension import Extensions
from pancode.runs.life.conversation import is_orchestrator, payer_of
from pancode.runs.life.health import HealthRules
from pancode.runs.life.jobs import NUMBERS_IN_AN_EPOCH
from pancode.runs.live import Feed, Heartbeats, Live, update_speed
from pancode.runs.restored.mode import EPOCH, EPOCH_BEFORE
from pancode.runs.retention.rules import KeepRules
from pancode.runs.row_cache import KeptRows

T = TypeVar("T")


class Unread(Exception):
    """Raised if a decision needs a vendor's unread list; the caller must release the lock and read it."""

    def __init__(self, vendor: str) -> None:
        super().__init__(vendor)
        self.vendor = vendor


class Lists(Mapping[str, VendorList]):
    """The vendors' model lists for decisions. Access to a list that has not been read raises `Unread`."""

    def __init__(self, kept: Mapping[str, VendorList]) -> None:
        self._kept = kept
        # Copy the names, as checking whether `kept` contains a list may read that list.
        self._names = tuple(kept)
        self._read: dict[str, VendorList] = {}

    def __getitem__(self, vendor: str) -> VendorList:
        if vendor not in self._names:
            raise KeyError(vendor)
        if vendor not in self._read:
            raise Unread(vendor)
        return self._read[vendor]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, vendor: str) -> None:
        """Read the vendor's list, so that it is available from now on. This may take a moment."""
        self._read[vendor] = self._kept[vendor]


def decide_locked(lists: Lists, lock: AbstractContextManager[object], decide: Callable[[], T]) -> T:
    """Return the decision, made under the lock, which is released while a missing list is read. `decide`
    reads lists before it changes anything, and is called again after each missing list."""
    while True:
        try:
            with lock:
                return decide()
        except Unread as needed:
            lists.read(needed.vendor)


P = ParamSpec("P")
R = TypeVar("R")

FIRST_START_MS = 1_767_225_600_000
"""2026-01-01, in Unix milliseconds: no coordinator started before this time."""

BOOTS, KEPT_BOOTS = "epoch_boots", 50
"""The setting with the wall time of this machine's boot for each of the newest epochs, and how many."""
BEHIND = "behind"
"""The setting that says which node knows what of another coordinator of the fleet that this ledger lacks."""
RESTORED = "restored"
"""The setting that says from when the restored ledger is (`taken_ms`), and from which `copy` if that is
known. `fleet.standing.take_up` adds when and by whom it was taken up (`up_ms`, `by`), and why it was held
(`was`)."""
CEILING, WORK_CEILING = "ceiling:", "ceiling-work:"
"""Prefixes of the settings for a scope's ceilings: in USD, and in tokens and time."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The external effects, as injected by the wiring."""

    ledger: Ledger
    bus: Bus
    depot: DepotPort
    archive: ReceiptArchive
    epochs: Epochs
    clock: Clock
    ids: Ids
    vendors: Mapping[str, VendorList] = field(default_factory=dict)
    """The model list of each vendor; the first read of a list may take a moment."""


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Settings of the control plane; times are in milliseconds."""

    ceiling_usd: Decimal = Decimal(10)
    session_usd: Decimal | None = None
    """The ceiling of a session without its own; None: no ceiling."""
    deadlines: Deadlines = Deadlines()
    heartbeat_ms: int = 5_000
    start_by_ms: int = 120_000
    push_again_ms: int = 30_000
    control_again_ms: int = 10_000
    refused_pause_ms: int = 5_000
    retry_pause_ms: int = 10_000
    quota_look_ms: int = 1_000
    look_ms: int = 1_000
    """The least interval between checks of heartbeats and states, although messages trigger more passes."""
    rest_ms: int = 45_000
    """How long a node that refused because of its own state gets no offers; then its heartbeat shows the
    state."""
    shun_ms: int = 600_000
    """How long a run is not offered again to a node that could not take it, although another might."""
    gives_way_ms: int = 30_000
    """How long a session must have waited for a message before it is suspended for a run that needs its slot;
    that run suspends no other session for the same time."""
    ahead: int = 8
    """How many jobs per slot may wait on a node; 0: all wait at the coordinator."""
    ahead_usd: Decimal = Decimal(2)
    """The most USD that a run without its own limit may cost once a node has it."""
    node_quota: int = 64 * 2**20
    """How many bytes one node may store in Redis."""
    health: HealthRules = HealthRules()
    keep: KeepRules = KeepRules()
    evidence: ForeignReceipts = ForeignReceipts()
    """The most receipts without effect, and the most bytes of them, stored per node and day."""

    def scale(self, factor: float) -> ControlSettings:
        """Return the settings with all times multiplied by one factor (tests)."""
        times = [name for name in self.__slots__ if name.endswith("_ms")]
        ms: dict[str, Any] = {name: max(1, int(getattr(self, name) * factor)) for name in times}
        return replace(self, deadlines=self.deadlines.scale(factor), **ms)


class Core:
    """The shared state of the use cases; one per coordinator. Thread-safe; `lock` serializes writes."""

    tz: tzinfo | None = None
    """The time zone of the budget's day; None: the system's time zone."""

    def __init__(
        self, ports: Ports, key: SigningKey, fleet: str, rules: ControlSettings, extensions: Extensions
    ) -> None:
        self.kept = KeptRows(ports.ledger)
        self.ports = replace(ports, ledger=self.kept)
        self.lists = Lists(ports.vendors)
        self.key = key
        self.former: dict[str, SigningKey] = {}
        """Replaced signing keys by id, each kept until all nodes know a newer one."""
        self.fleet = fleet
        self.machine = OwnMachine()
        self.rules = rules
        self.extensions = extensions
        self.lock = threading.RLock()
        self._reaching_lock = threading.Lock()
        self.epoch = 0
        start = ports.clock.boot_ms()
        self.feed = Feed()
        self.live = Live(Heartbeats(Listening(started_ms=start, last_ms=start)))
        self.ends_if_behind, self.is_behind = False, False
        """Whether it stops acting once a node knows more than its ledger, and whether one does."""
        self.fleet_tools: Mapping[str, FleetTool] = {}
        """The tools that orchestrators may get, by name; empty if they are not implemented."""

    def now(self) -> FleetTime:
        """Return the fleet time."""
        return FleetTime(epoch=self.epoch, ms=self.ports.clock.boot_ms())

    def wall_ms(self) -> int:
        return self.ports.clock.wall_ms()

    def raise_epoch(self, above: int, tx: Transaction) -> int:
        """Store and return a new epoch above the given one; call `enter` only when it is durable.

        If only the ledger has the last epoch, and may be an old copy, the new one is higher than any that can
        have existed since PanCode's first release.
        """
        stored, kept = self.read_epoch(tx), self.ports.epochs.last()
        least = self.most_epochs() if stored is not None and kept is None else 0
        epoch = max(stored or 0, kept or 0, least, above, self.epoch) + 1
        boots = {**self._read_boots(tx), str(epoch): self.wall_ms() - self.ports.clock.boot_ms()}
        newest = dict(sorted(boots.items(), key=lambda one: int(one[0]))[-KEPT_BOOTS:])
        for name, value in ((EPOCH_BEFORE, kept or 0), (EPOCH, epoch), (BOOTS, newest)):
            tx.put(records.Setting(name, value, self.wall_ms(), "coordinator"))
        return epoch

    def _read_boots(self, tx: Transaction) -> dict[str, int]:
        row = tx.get(records.Setting, BOOTS)
        return row.value if row is not None and isinstance(row.value, dict) else {}

    def last_heard_ms(self, tx: Transaction, view: NodeView) -> int | None:
        """Return the wall time when the node was last heard, also before this start; None: not known."""
        echo = None if view.last is None else view.last.heartbeat.echo
        boot = None if echo is None else self._read_boots(tx).get(str(echo.epoch))
        return None if echo is None or boot is None else min(boot + echo.ms, self.wall_ms())

    def read_epoch(self, tx: Transaction) -> int | None:
        """Return the newest epoch in the ledger; None: no coordinator has begun one."""
        row = tx.get(records.Setting, EPOCH)
        return None if row is None else row.value if isinstance(row.value, int) else 0

    def most_epochs(self) -> int:
        """Return the largest possible epoch: seconds since PanCode's first release, one start per second."""
        return max(0, self.wall_ms() - FIRST_START_MS) // 1_000

    def enter(self, epoch: int) -> None:
        """Use this epoch for all signatures from now on, and store it outside the ledger, too."""
        self.ports.epochs.keep(epoch)
        self.epoch = epoch
        self.live.new_epoch(epoch)

    def highest_lease(self, run: records.Run) -> int:
        """Return the highest lease number that may have been signed, even if the ledger was restored."""
        forgotten = 0 if run.epoch == self.epoch else self.epoch * NUMBERS_IN_AN_EPOCH
        return max(run.lease, forgotten)

    def stamp(self) -> books.Stamp:
        return books.Stamp(self.wall_ms(), self.new_entry)

    def new_entry(self) -> str:
        """Return a new id for a budget entry."""
        return self.ports.ids.token(12)

    # -- nodes ---------------------------------------------------------------------------------

    def view_of(self, node: records.Node, now: FleetTime | None = None) -> NodeView:
        """Return the current view of the node on which decisions are based."""
        last = self.live.contacts.last_heartbeats.get(node.tag) if node.tag else None
        if last is not None and node.tag is not None:
            inventory = self.live.journals.inventories.get(node.tag)
            echoed = self.live.contacts.echoed_ms.get(node.tag)
            last = replace(last, inventoried=inventory[1] if inventory else "", echo_ms=echoed)
        watch, limits = self.live.heartbeats.watch, self.rules.deadlines
        view = build_view(node, last, now or self.now(), watch, limits, self.reaching(node.name))
        return replace(view, opens_home=self.machine.opens_home(node, last))

    def reaching(self, name: str) -> Reaching:
        """Return whether the coordinator tries to reach that node, and when it did not."""
        return self.live.links.reaching.get(name, REACHED)

    def note_reaching(self, name: str, edit: Callable[[Reaching], Reaching]) -> None:
        """Change the state of reaching a node at once, outside of a pass; the links' thread calls this."""
        with self._reaching_lock:
            known = self.reaching(name)
            self.live.links.reaching[name] = known.became(edit(known), self.ports.clock.boot_ms())

    def enrolled(self) -> dict[str, records.Node]:
        """Return the nodes whose messages are accepted, by tag."""
        with self.ports.ledger.transaction() as tx:
            return {n.tag: n for n in tx.find(records.Node) if n.tag is not None and n.removed != "removed"}

    def views(self, tx: Transaction) -> list[NodeView]:
        now = self.now()
        return [self.view_of(node, now) for node in tx.find(records.Node)]

    # -- budget --------------------------------------------------------------------------------

    def ceiling(self, tx: Transaction, scope: str) -> Decimal | None:
        """Return a scope's ceiling: set by the owner, else the default of days and sessions, else None."""
        setting = self.ceiling_set(tx, scope)
        if setting is not None:
            return Decimal(str(setting.value))
        kind = scope.partition(":")[0]
        return {"day": self.rules.ceiling_usd, "session": self.rules.session_usd}.get(kind)

    def budget_hurry(self, tx: Transaction) -> str:
        """Return why no more slots are opened (the day's budget is spent too fast); empty: they may be."""
        day, now_ms = books.day_scope(self.wall_ms(), self.tz), self.ports.clock.boot_ms()
        spent, ceiling = (
            (tx.get(records.Balance, day) or records.Balance(day)).spent_usd,
            self.ceiling(tx, day),
        )
        left = None if ceiling is None else ceiling - spent
        self.live.binding.speed = update_speed(self.live.binding.speed, now_ms, day, spent, left)
        return self.live.binding.speed.why

    def ceiling_set(self, tx: Transaction, scope: str, prefix: str = CEILING) -> records.Setting | None:
        """Return the setting with which the owner set the ceiling, which overrides any file."""
        names = (f"{prefix}{scope}", f"{prefix}{scope.partition(':')[0]}")
        return next((found for name in names if (found := tx.get(records.Setting, name)) is not None), None)

    def ceilings(self, tx: Transaction, scope: str) -> books.Ceilings:
        """Return a scope's ceilings in every currency; tokens and time only if the owner set them."""
        found = (hook.act(tx, scope) for hook in self.extensions.ceilings if hook.concerns(scope))
        given = [one for one in found if one is not None]
        if given:
            return given[0]
        own = self._own_ceiling(tx, scope) if books.is_session(scope) else None
        usd = self.ceiling(tx, scope) if own is None else own
        work = self.ceiling_set(tx, scope, WORK_CEILING)
        limits = work.value if work is not None and isinstance(work.value, dict) else {}
        return books.Ceilings(usd, limits.get("tokens"), limits.get("ms"))

    def _own_ceiling(self, tx: Transaction, scope: str) -> Decimal | None:
        """Return the ceiling that a user set for this session. If the session's first run is not booked in
        its budget (as for headless runs), return what is left of that run's limit instead."""
        name = scope.partition(":")[2]
        session, first = tx.get(records.SessionRow, name), tx.get(records.Run, name)
        if first is None or (session is not None and session.ceiling is not None):
            return None if session is None else session.ceiling
        usd, entries = first.limits.get("usd"), tx.find(records.BookEntry, {"run": name})
        if usd is None or any(entry.scope == scope for entry in entries):
            return None
        spent = books.sum_used(entries, first.attempt + (first.state is records.RunState.ENDED))
        return max(books.subtract_amount(Decimal(str(usd)), spent), books.ZERO)

    def ceilings_set(self, tx: Transaction) -> set[str]:
        """Return the scopes, or kinds of scopes, for which a user set a ceiling."""
        names = [str(name) for (name,) in tx.starting(records.Setting, "ceiling", 10_000)]
        return {name.removeprefix(CEILING).removeprefix(WORK_CEILING) for name in names}

    def period_scopes(self) -> list[str]:
        """Return the scopes of this week and this month."""
        return [books.scope_of(period, self.wall_ms(), self.tz) for period in books.PERIODS]

    def period_balance(self, tx: Transaction, period: str) -> records.Balance:
        """Return the sum of the days of this week or month."""
        scope = books.scope_of(period, self.wall_ms(), self.tz)
        known = (tx.get(records.Balance, day) for day in books.days_of(scope))
        return books.sum_balances(scope, (balance for balance in known if balance is not None))

    def budget_scopes(self, tx: Transaction, run: records.Run) -> list[BudgetScope]:
        """Return the scopes in which an attempt of this run reserves money once it is admitted; week and
        month are last.

        What an interactive run dispatches is paid from that run's reservation: it is booked in the session,
        and the session's ceiling does not refuse it. An orchestrator reserves only for its own model, so the
        session's ceiling applies to its children.
        """
        scopes = [books.day_scope(self.wall_ms(), self.tz), books.agent_scope(run.agent)]
        scopes += [books.repo_scope(run.project)] if run.project is not None else []
        scopes += [books.workflow_scope(run.workflow)] if run.workflow is not None else []
        payer = payer_of(run)
        session = self.read_scopes(tx, [books.session_scope(payer)]) if payer else []
        above = tx.get(records.Run, run.parent) if run.parent is not None else None
        if not run.takes_turns and (above is None or not is_orchestrator(above)):
            session = [replace(budget_scope, ceilings=books.NO_CEILING) for budget_scope in session]
        return [*self.read_scopes(tx, scopes), *session, *self.period_budget_scopes(tx)]

    def read_scopes(self, tx: Transaction, scopes: Iterable[str]) -> list[BudgetScope]:
        return [
            BudgetScope(tx.get(records.Balance, s) or records.Balance(s), self.ceilings(tx, s))
            for s in scopes
        ]

    def period_budget_scopes(self, tx: Transaction) -> list[BudgetScope]:
        """Return the budget scopes of this week and this month that have a ceiling."""
        kinds = self.ceilings_set(tx)
        sums = [self.period_balance(tx, period) for period in books.PERIODS if period in kinds]
        return [BudgetScope(balance, self.ceilings(tx, balance.scope), is_booked=False) for balance in sums]

    def find_limited(self, tx: Transaction, changed: Iterable[records.Balance]) -> list[BudgetScope]:
        """Return changed balances that may have a ceiling; with today's also the week's and month's."""
        kinds, today = self.ceilings_set(tx), books.day_scope(self.wall_ms(), self.tz)
        always = {*kinds, "day", "session"}
        found = [b for b in changed if {b.scope, b.scope.partition(":")[0]} & always]
        if any(balance.scope == today for balance in found):
            found += [self.period_balance(tx, period) for period in books.PERIODS if period in kinds]
        return [BudgetScope(balance, self.ceilings(tx, balance.scope)) for balance in found]

    def awake_ms_since(self, since_ms: int) -> int:
        """Return how long the coordinator has been awake since that boot-clock time, in milliseconds."""
        return awake_since(since_ms, self.ports.clock.boot_ms(), self.live.heartbeats.watch.gaps)

    def key_for(self, node: records.Node) -> SigningKey:
        """Return the key that signs for this node: a former key until the node knows the current one."""
        return self.former.get(node.obeys or "", self.key)


def open_leases(tx: Transaction, **where: object) -> list[records.Lease]:
    """Return the leases that may be running, or are not known to have ended."""
    states = (records.LeaseState.OFFERED, records.LeaseState.ACCEPTED, records.LeaseState.RUNNING)
    return [f for state in states for f in tx.find(records.Lease, {"state": state, **where})]


def hold_lock(act: Callable[Concatenate[Core, P], R]) -> Callable[Concatenate[Core, P], R]:
    """Decorate a use case of several steps to hold the lock, so that nothing else writes in between."""

    @wraps(act)
    def alone(core: Core, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with core.lock:
            return act(core, *args, **kwargs)

    return alone
