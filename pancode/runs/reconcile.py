"""The reconcile pass: read nodes' messages, decide, send and clean up; and how an epoch begins."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.budget import books
from pancode.budget.books import PERIODS
from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import JobToClose, NamedJobs, Transaction
from pancode.kernel.quota import too_many
from pancode.kernel.records import (
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
)
from pancode.runs import health, inbound, keyring
from pancode.runs.core import Core, open_leases
from pancode.runs.nodes import heartbeats, liveness, quota
from pancode.runs.nodes.evidence import shut_out
from pancode.runs.placement import binding as bind
from pancode.runs.placement import breaker_service
from pancode.runs.restored import requests
from pancode.runs.restored.hold import begin_hold
from pancode.runs.restored.mode import FleetMode, decide_mode, read_facts
from pancode.runs.unit_of_work import ALERT, unit_of_work

RESERVATIONS_REPAIRED = "holds_repaired"
"""Name of the setting that records that `repair_reservations` was done."""
LAPSED = "lapsed"
"""Name of the setting with the last day for which `lapse_reserved` was done."""


def repair_reservations(core: Core) -> None:
    """Release, once per ledger, reservations of ended runs in the scopes of nodes. Earlier versions left such
    a reservation if a node returned a job and the run reserved 0 USD."""
    with unit_of_work(core) as work:
        if work.tx.get(Setting, RESERVATIONS_REPAIRED) is not None:
            return
        work.tx.put(Setting(RESERVATIONS_REPAIRED, True, core.wall_ms(), "coordinator"))
        for one in work.tx.find(Balance):
            if books.is_node(one.scope) and (one.reserved_usd or one.reserved_tokens or one.reserved_ms):
                entries = work.tx.find(BookEntry, {"scope": one.scope})
                for name, attempt in sorted({(entry.run, entry.attempt) for entry in entries}):
                    run = work.tx.get(Run, name)
                    if run is None or run.state is not RunState.ENDED:
                        continue
                    mine = [entry for entry in entries if entry.run == name]
                    account, why = books.Account(name, attempt), "its run has ended"
                    if made := books.release_reserved(mine, account, core.stamp(), why):
                        work.book(made)
                        remark = "reservation of an ended run released"
                        work.audit("budget", "warning", remark, name, scope=one.scope, attempt=attempt)


def lapse_reserved(core: Core) -> None:
    """Once a day, release the reservations of earlier days' unknown costs in all scopes except days, whose
    balance ends with the day. These costs remain unknown until they are reported and booked."""
    today = books.day_scope(core.wall_ms(), core.tz)
    if core.live.day == today:
        return
    repair_reservations(core)
    with unit_of_work(core) as work:
        # Read all balances, unless this was already done today.
        done = work.tx.get(Setting, LAPSED)
        balances = [] if done is not None and done.value == today else work.tx.find(Balance)
        for balance in balances:
            if balance.unknown_runs and not books.is_day(balance.scope):
                unknown = [
                    entry
                    for entry in work.tx.find(BookEntry, {"scope": balance.scope})
                    if entry.kind is EntryKind.UNKNOWN
                ]
                for run, attempt in dict.fromkeys((entry.run, entry.attempt) for entry in unknown):
                    entries = work.tx.find(BookEntry, {"run": run})
                    begun = [e.at_ms for e in entries if e.attempt == attempt and e.kind is EntryKind.RESERVE]
                    if begun and books.day_scope(min(begun), work.core.tz) < today:
                        work.book(
                            books.release_unknown(
                                entries, books.Account(run, attempt), balance.scope, work.core.stamp()
                            )
                        )
        # Delete the settings of past days, weeks and months.
        now = {today, *core.period_scopes()}
        for kind in ("day", *PERIODS):
            for (name,) in work.tx.starting(Setting, f"{ALERT}{kind}:", 1_000):
                if str(name).removeprefix(ALERT) not in now:
                    work.tx.delete(Setting, name)
        if balances:
            work.tx.put(Setting(LAPSED, today, core.wall_ms(), "coordinator"))
    core.live.day = today


EVERY_MS = 60_000
NOT_ITS_OWN = "in Redis, the node marked a job as started that is not its own"


def close_jobs(core: Core) -> None:
    """Close the jobs of closed leases in Redis: those of the last pass now, all others once a minute. The
    ledger decides which jobs are finished, as a node can write anything into its own registry."""
    if core.live.sweep.closed:
        with core.ports.ledger.transaction() as tx:
            over = _list_closed(core, tx)
        _close(core, over)
        core.live.sweep.closed.clear()
    tag = _find_due_tag(core)
    if tag is not None:
        page = core.ports.bus.named_jobs(tag, core.live.sweep.pages.get(tag, 0))
        core.live.sweep.pages[tag] = page.cursor
        with core.ports.ledger.transaction() as tx:
            over, strange = _find_over(tx, tag, page)
            odd = too_many(page.total, len(open_leases(tx, tag=tag)))
        core.ports.bus.drop_named(tag, strange)
        _close(core, over)
        if odd or strange:
            _blame_nodes(core, {tag: odd or NOT_ITS_OWN})


def _find_due_tag(core: Core) -> str | None:
    """Return the next node tag whose jobs are checked; a check begins each minute. None: all are done."""
    boot, sweep = core.ports.clock.boot_ms(), core.live.sweep
    if not sweep.left and boot >= sweep.due_ms:
        # Check the tags of all node keys, including former ones: a node with a new key leaves jobs of its old
        # key behind.
        with core.ports.ledger.transaction() as tx:
            known = keyring.node_tags(tx)
        nodes = core.enrolled()
        tags = (known | nodes.keys()) - {tag for tag, node in nodes.items() if node.quarantined is not None}
        sweep.left, sweep.due_ms = sorted(tags), boot + EVERY_MS
    return sweep.left.pop() if sweep.left else None


def _close(core: Core, over: list[JobToClose]) -> None:
    _blame_nodes(core, core.ports.bus.close_jobs(over) if over else {})


def _blame_nodes(core: Core, odd: dict[str, str]) -> None:
    """Quarantine the nodes of these tags: only a node itself can write such data. `odd`: reason by tag."""
    if not odd:
        return
    nodes = core.enrolled()
    for tag, why in odd.items():
        node = nodes.get(tag)
        if node is not None and node.quarantined is None:
            with unit_of_work(core) as work:
                shut_out(work, node, why)


def _job_of(tag: str, identity: AttemptId, lease: Lease | None) -> JobToClose:
    ok = lease is not None and lease.closed is Closed.RECEIPT
    why = "receipt delivered" if ok else f"closed: {lease.closed if lease else 'unknown lease'}"
    return JobToClose(tag, identity, ok, why)


def _list_closed(core: Core, tx: Transaction) -> list[JobToClose]:
    """Return the jobs of leases that are closed in the ledger; those whose commit failed are left out."""
    found = [(identity, tx.get(Lease, identity.run, identity.lease)) for identity in core.live.sweep.closed]
    return [_job_of(f.tag, i, f) for i, f in found if f is not None and f.state is LeaseState.CLOSED]


def _find_over(tx: Transaction, tag: str, page: NamedJobs) -> tuple[list[JobToClose], list[bytes]]:
    """Return the page's jobs whose lease is closed or unknown, and its entries that are no jobs of this
    tag."""
    over, strange = [], []
    for entry in (*(job.encode() for job in page.waiting), *page.started):
        owner = keys.job_owner(entry.partition(b":")[0].decode("ascii", "replace"))
        if owner is None or owner[0] != tag:
            strange.append(entry)
        elif (job := _job_over(tx, tag, owner[1])) is not None:
            over.append(replace(job, entry=entry))
    return over, [entry for entry in strange if entry in page.started]


def _job_over(tx: Transaction, tag: str, identity: AttemptId) -> JobToClose | None:
    """Return the job if it is finished; None while the ledger has an open lease of it for this node."""
    lease = tx.get(Lease, identity.run, identity.lease)
    mine = lease if lease is not None and lease.tag == tag else None
    return None if mine is not None and mine.state is not LeaseState.CLOSED else _job_of(tag, identity, mine)


def start_epoch(core: Core) -> None:
    """Begin a new epoch and send every node its settings again; nothing is signed before it is stored."""
    with core.lock:
        with unit_of_work(core) as work:
            seen = max((n.epoch_seen for n in work.tx.find(Node)), default=0)
            mode = decide_mode(read_facts(work.tx, core.ports.epochs.last()))
            if mode is FleetMode.HELD and not core.ends_if_behind:
                begin_hold(work, "the epoch's file is missing, or is not from this ledger", has_led=False)
            epoch = core.raise_epoch(seen, work.tx)
            keyring.start_key(work.tx, keyring.COORDINATOR, core.fleet, core.key.public, core.wall_ms())
            core.feed.load(work.tx)
        core.enter(epoch)
        with unit_of_work(core) as work:
            work.audit("fleet", "info", "coordinator started", epoch=epoch)
            breaker_service.restore_cooldowns(core, work.tx)
            for node in work.tx.find(Node):
                if node.epoch_seen:
                    core.live.contacts.sent[node.name] = node.control_seq
                heartbeats.say_settings(work, node)


def wait_for_messages(core: Core, wait_ms: int) -> bool:
    """Wait until a node has written or the time is over, without holding the lock; return whether one has
    written."""
    with core.ports.ledger.transaction() as tx:
        tags = [n.tag for n in tx.find(Node) if n.tag is not None]
    return bool(core.ports.bus.read_up(tags, 1, wait_ms))


def run_pass(core: Core, woken: bool = False) -> int:
    """Run one pass; return how many messages arrived. UnavailableError while Redis is unusable. `woken`: a
    message caused this pass, so all nodes are checked only if that is due."""
    with core.lock:
        looks = (
            not woken or core.ports.clock.boot_ms() - core.live.heartbeats.watch.last_ms >= core.rules.look_ms
        )
        try:
            quota.enforce_quota(core)
            if looks:
                heartbeats.read_heartbeats(core)
            messages = inbound.take_in(core, 500)
        except UnavailableError as error:
            core.live.redis.fault = error
            liveness.record_contact(core, reached=False)
            raise
        if looks:
            requests.ask_nodes(core)
            liveness.record_contact(core, reached=not core.live.heartbeats.is_refused)
            liveness.judge_nodes(core)
            health.check_runs(core)
        try:
            act_now(core)
            liveness.send_heartbeats(core)
        except UnavailableError as error:
            core.live.redis.fault = error
            core.live.heartbeats.refuse()
            raise
        core.live.redis.fault = None
        # Other threads may have left records to be written.
        waiting = core.live.to_record
        while not waiting.empty():
            level, what, detail = waiting.get()
            with unit_of_work(core) as work:
                work.audit("trust", level, what, None, **detail)
        close_jobs(core)
        lapse_reserved(core)
        return messages


def act_now(core: Core) -> None:
    """Decide and send to nodes, without reading messages, so that a user's change takes effect at once."""
    with core.lock:
        if core.is_behind:
            return
        bind.bind_runs(core)
        # Do this before pushing jobs: a node that is back in service must be notified before it gets work.
        liveness.flush_controls(core)
        bind.push_offers(core)
        bind.show_tickets(core)
