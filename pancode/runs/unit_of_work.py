"""The unit of work of the use cases: load a run's rows, decide on a signal, write all changes."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from node_agent.wire.control import Control, ControlBody, Tombstone
from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.logs import JobLine
from node_agent.wire.model import canonical_json
from node_agent.wire.node import Heartbeat
from pancode.budget import books
from pancode.budget.books import Ceilings, counted_usd, format_minutes, subtract_amount
from pancode.budget.track_record_rules import kind_of, size_of
from pancode.kernel import records
from pancode.kernel.formatting import format_usd
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Closed, Lease
from pancode.runs.core import BEHIND, Core
from pancode.runs.life.case import Now, RunCase, may_follow
from pancode.runs.life.changes import (
    AuditLine,
    Changes,
    Domain,
    Happened,
    Signal,
    decide,
    entries_of,
    events_of,
)
from pancode.runs.life.conversation import has_change, list_next_runs
from pancode.runs.life.jobs import NUMBERS_IN_AN_EPOCH, identity_of, may_push
from pancode.runs.placement import breaker_service
from pancode.runs.receipts.rules import cost_of
from pancode.runs.receipts.trust import CLOSED, REFUSED, REVERTED, is_disputed
from pancode.runs.views import session_of, words_of

OVER = "this job was already answered"
_NOT_TAKEN = (Closed.REFUSED, Closed.NOT_NOW)
_ANSWERED = (*_NOT_TAKEN, Closed.REVOKED, Closed.RECEIPT)
MOST_TIMES = 3
"""How often one job's tombstone is sent to a node at most: the node may start any number of sessions, and
each message is stored until the node has seen it."""


def remember_job(core: Core, lease: Lease) -> None:
    """Remember a finished job that its node could still start, so that a tombstone can prevent the start."""
    if lease.closed in _ANSWERED:
        over = core.live.answers.over.setdefault(lease.tag, deque())
        over.append((lease, 0))
        while over and not may_push(over[0][0], core.now()):
            over.popleft()


def list_tombstones(core: Core, heartbeat: Heartbeat, last: Heartbeat) -> list[Tombstone]:
    """Return tombstones, for a node's new session, of finished jobs that the node could still start."""
    over = core.live.answers.over.get(heartbeat.node)
    if not over or last.session == heartbeat.session:
        return []
    kinds = _ANSWERED if heartbeat.control_seen < last.control_seen else _NOT_TAKEN
    due = [one for one in over if one[0].closed in kinds and may_push(one[0], core.now())]
    again = [(lease, times + 1) for lease, times in due if times + 1 < MOST_TIMES]
    core.live.answers.over[heartbeat.node] = deque([*(one for one in over if one not in due), *again])
    return [Tombstone(run=lease.run, up_to_lease=lease.lease, reason=OVER) for lease, _ in due]


ALERT_AT = Decimal("0.8")
ALERT = "alert:"
"""The prefix of a setting's name, followed by a budget scope: the ceiling for which the user was warned."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A warning that this share of a budget scope's ceiling is spent or reserved."""

    scope: str
    percent: int
    used: str
    ceiling: str


def alert_of(balance: records.Balance, ceilings: Ceilings) -> Alert | None:
    """Return the alert for the unit (USD or tokens) with the largest used share, once 80 % of its ceiling is
    spent or reserved; never for a ceiling of 0."""
    found = [
        (share, used, most) for share, used, most in _list_shares(balance, ceilings) if share >= ALERT_AT
    ]
    if not found:
        return None
    share, used, most = max(found)
    return Alert(balance.scope, int(share * 100), used, most)


def _list_shares(balance: records.Balance, ceilings: Ceilings) -> list[tuple[Decimal, str, str]]:
    shares = []
    if ceilings.usd:
        # An interactive run reserves its maximum cost and rarely needs it, so a session's alert ignores
        # reserved money.
        reserved = balance.reserved_usd if books.is_session(balance.scope) else books.ZERO
        used = subtract_amount(counted_usd(balance), reserved)
        shares.append((used / ceilings.usd, format_usd(used), format_usd(ceilings.usd)))
    if ceilings.tokens:
        tokens = balance.tokens + balance.reserved_tokens
        shares.append(
            (Decimal(tokens) / ceilings.tokens, f"{tokens:,} tokens", f"{ceilings.tokens:,} tokens")
        )
    if ceilings.ms:
        ms = balance.agent_ms + balance.reserved_ms
        reached, most = (f"{format_minutes(one)} agent-minutes" for one in (ms, ceilings.ms))
        shares.append((Decimal(ms) / ceilings.ms, reached, most))
    return shares


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The result of verifying the audit. `misfit`: number of the first entry that does not fit; `why`: the
    reason. `head`: the newest digest; a copy reveals later whether the newest entries were removed."""

    entries: int
    head: str
    misfit: int | None = None
    why: str = ""
    anchored: int = 0
    """The newest entry that is confirmed by signatures of the fleet's key; 0 if none is."""


def digest_of(entry: records.Audit) -> str:
    """Return the digest of all fields of an entry, including the previous entry's digest."""
    fields = [entry.number, entry.at_ms, entry.domain, entry.level, entry.what, entry.detail, entry.run]
    text = json.dumps([*fields, entry.previous], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


ANCHOR_EVERY, ANCHOR_TYPE = 20, "application/vnd.pancode.audit-anchor+json"
"""The number of entries from one digest signed with the fleet's key to the next, and the type of the signed
content."""


def is_anchored(number: int) -> bool:
    """Whether this entry's digest is signed: the first entry's and every twentieth's."""
    return number == 1 or number % ANCHOR_EVERY == 0


def anchor_payload(fleet: str, entry: records.Audit) -> bytes:
    """Return the bytes that are signed for an entry."""
    anchor = {"fleet": fleet, "entry": entry.number, "head": digest_of(entry), "at_ms": entry.at_ms}
    return canonical_json(anchor)


def judge_audit(
    entries: Iterable[records.Audit], anchors: Mapping[int, str | None] | None = None
) -> AuditVerdict:
    """Verify all entries in order from the first. `anchors`: valid signed digests by entry number; only they
    reveal a chain that was rewritten consistently."""
    known, count, head, anchored = anchors or {}, 0, "", 0
    for entry in entries:
        if entry.number != count + 1:
            why = f"entry {count + 1} is missing"
            return AuditVerdict(count, head, entry.number, why, anchored)
        if entry.previous != head:
            before = f"entry {count} was changed" if count else "an entry before this one was removed"
            why = f"{before}, or this entry was replaced"
            return AuditVerdict(count, head, entry.number, why, anchored)
        count, head = count + 1, digest_of(entry)
        if known.get(count, head) != head:
            why = "its digest differs from the one that was signed with the fleet's key"
            return AuditVerdict(count, head, count, why, anchored)
        anchored = count if count in known else anchored
    if known and max(known) > count:
        why = f"entry {max(known)} was signed with the fleet's key, but is missing"
        return AuditVerdict(count, head, max(known), why, anchored)
    return AuditVerdict(count, head, anchored=anchored)


SPENT = (records.EntryKind.SPEND, records.EntryKind.CORRECT, records.EntryKind.UNKNOWN)
"""Kinds of ledger entries that record spending."""
NO_FAULTS = frozenset({Outcome.DONE, Outcome.BLOCKED, Outcome.INTERRUPTED, Outcome.SUPERSEDED})
"""Outcomes that need nobody by themselves: a success, a question (it is in the inbox), a stop that a user or
a drain asked for, and the end of a run that a newer one replaces. All others are failures."""


def ended_run(
    run: records.Run, attempts: Collection[records.Attempt], entries: Iterable[records.BookEntry]
) -> records.EndedRun | None:
    """Return the summary row of a run, or None if it has not ended."""
    if run.state is not records.RunState.ENDED or run.outcome is None or run.finished_ms is None:
        return None
    booked = [entry for entry in entries if entry.kind in SPENT and books.is_day(entry.scope)]
    times = [entry.at_ms for entry in booked]
    node = run.result.get("node")
    return records.EndedRun(
        run=run.id,
        ended_ms=run.finished_ms,
        agent=run.agent,
        model=run.model,
        runtime=run.runtime,
        kind=kind_of(run.task),
        repository=run.project,
        node=node if isinstance(node, str) else None,
        outcome=run.outcome,
        started=run.started_ms is not None,
        counts=_counts_in_record(run),
        judges=run.judges is not None,
        landed=bool(run.landed),
        reverted=REVERTED in run.result,
        left=is_left(run),
        retry_of=run.retry_of,
        ms=max(0, run.finished_ms - (run.started_ms or run.finished_ms)),
        usd=books.add_amounts(*(entry.usd for entry in booked)),
        tokens=sum(entry.tokens for entry in booked),
        agent_ms=sum(entry.agent_ms for entry in booked),
        unknown=cost_of(attempts)[1],
        first_ms=min(times, default=None),
        last_ms=max(times, default=None),
        size=size_of(run.task),
    )


def _counts_in_record(run: records.Run) -> bool:
    """Whether the run counts in track records; it does not if it asked a question, was stopped by a user, or
    failed because of PanCode, a node or a model server."""
    proven = run.result.get("receipt") is not None and run.judges is None
    return proven and (run.outcome is Outcome.DONE or _is_agents_fault(run.failure))


def _is_agents_fault(failure: FailureKind | None) -> bool:
    return failure is not None and FAILURES[failure].agent


def is_left(run: records.Run) -> bool:
    """Whether a user should still see the run's end or decide on its change, which no later run has."""
    # A run that continues from this one contains its change.
    if run.judges is not None or list_next_runs(run) or run.landing.get("status") in REFUSED:
        return False
    # Who has landed a change that failed its gates has decided on it.
    return is_disputed(run) or (run.landed is None and is_at_fault(run)) or _is_unlanded(run)


def is_at_fault(run: records.Run) -> bool:
    """Whether the run ended in a way that a user should see, whether or not it has a change."""
    return (run.outcome is not None and run.outcome not in NO_FAULTS) or is_disputed(run)


def _is_unlanded(run: records.Run) -> bool:
    is_open = run.landed is None and run.landing.get("status") not in CLOSED
    return run.outcome is Outcome.DONE and is_open and has_change(run)


MOST_TOLD, TOLD_CHARS = 5_000, 4_000
"""The maximum number of entries that nodes may add to a run's timeline, and of characters in each."""


class Work:
    """A transaction, and the updates of memory after its commit; a failed commit leaves memory unchanged."""

    def __init__(self, core: Core, tx: Transaction) -> None:
        self.core, self.tx = core, tx
        self._after: list[Callable[[], object]] = []
        self._seen_keys: set[str] = set()
        self._events: list[records.FeedEvent] = []
        self._audited: list[records.Audit] = []

    # -- load ------------------------------------------------------------------------------------

    def case(self, run: records.Run, about: int = 0) -> RunCase:
        """Return the run's current rows. `about`: the number of the lease in question."""
        rules, mine = self.core.rules, {"run": run.id}
        found = session_of(self.tx, run)
        return RunCase(
            run=run,
            attempts={a.attempt: a for a in self.tx.find(records.Attempt, mine)},
            leases={f.lease: f for f in self.tx.find(records.Lease, mine)},
            entries=tuple(self.tx.find(records.BookEntry, mine)),
            now=Now(self.core.wall_ms(), self.core.new_entry, rules.refused_pause_ms, rules.retry_pause_ms),
            actions=tuple(self.tx.find(records.Action, mine)) if may_follow(run) else (),
            words=tuple(words_of(self.tx, run)),
            session=found if found is not None and found.run == run.id else None,
            about=about,
        )

    def case_of(self, identity: AttemptId) -> RunCase | None:
        """Return the case of an attempt; None unless run, attempt and lease all exist and match."""
        run = self.tx.get(records.Run, identity.run)
        case = self.case(run, identity.lease) if run is not None else None
        if case is None or identity.attempt not in case.attempts or identity.lease not in case.leases:
            return None
        return case if case.lease.attempt == identity.attempt else None

    # -- decide and apply --------------------------------------------------------------------------

    def signal(self, run: records.Run, *signals: Signal) -> records.Run:
        """Load the run's rows, decide on the signals and write the changes; return the changed run."""
        return self.apply(decide(self.case(run), *signals))

    def signal_lease(self, lease: records.Lease, *signals: Signal) -> None:
        """Signal the lease's run; do nothing if the run or attempt does not exist."""
        case = self.case_of(identity_of(lease))
        if case is not None:
            self.apply(decide(case, *signals))

    def apply(self, changes: Changes) -> records.Run:
        """Write the decided changes and those that features add; memory is updated after the commit."""
        for hook in self.core.extensions.changed:
            changes = hook.act(self.tx, changes) if hook.concerns(changes) else changes
        for row in changes.new:
            self.tx.insert(row)
        for row in changes.changed:
            self.tx.put(row)
        for action in changes.gone:
            self.tx.delete(records.Action, action.id)
        for lease in changes.closed if changes.run.holds_gpus else ():
            self.tx.delete(records.GpuHold, lease.run, lease.lease)
        self.book(changes.booked)
        for line in changes.timeline:
            self.tell(line.run, line.kind, line.what, line.verdict, line.detail)
        for one in changes.audit:
            self.audit(one.domain, one.level, one.what, one.run, **one.detail)
        self._record(entries_of(changes))  # The feed gets a separate event for each of these.
        for message in changes.controls:
            self.send(message.node, message.body)
        for event in events_of(changes):
            self.happened(event)
        self._write_ended_run(changes)
        self.after(partial(self._note, changes))
        return changes.run

    def _write_ended_run(self, changes: Changes) -> None:
        """Write the summary row of an ended run, and cache it."""
        if changes.run is changes.before.run and not changes.booked:
            return
        row = ended_run(changes.run, list(changes.case.attempts.values()), changes.case.entries)
        if row is not None:
            self.tx.put(row)
            self.after(partial(self._cache_ended_run, row))
        elif changes.before.run.state is records.RunState.ENDED:
            self.tx.delete(records.EndedRun, changes.run.id)

    def _cache_ended_run(self, row: records.EndedRun) -> None:
        if self.core.live.recent is not None:
            self.core.live.recent.note(row)

    # -- the effects -------------------------------------------------------------------------------

    def book(self, entries: Iterable[records.BookEntry]) -> None:
        """Write these entries to the books, and update the balances that they change."""
        balances: dict[str, records.Balance] = {}
        for entry in entries:
            self.tx.insert(entry)
            scope = entry.scope
            known = balances.get(scope) or self.tx.get(records.Balance, scope) or records.Balance(scope)
            balances[scope] = books.apply_entry(known, entry)
            if "unknown" in (entry.kind, entry.source):
                self.after(self.core.live.forget_unknown)
        for balance in balances.values():
            self.tx.put(balance)
        for budget_scope in self.core.find_limited(self.tx, balances.values()) if balances else ():
            alert = alert_of(budget_scope.balance, budget_scope.ceilings)
            if alert is not None:
                self._warn_user(alert)

    def _warn_user(self, alert: Alert) -> None:
        """Warn the user, once for each ceiling of a budget scope."""
        name = f"{ALERT}{alert.scope}"
        known = self.tx.get(records.Setting, name)
        if known is not None and known.value == alert.ceiling:
            return
        self.tx.put(records.Setting(name, alert.ceiling, self.core.wall_ms(), "coordinator"))
        detail = {"scope": alert.scope, "used": alert.used, "ceiling": alert.ceiling}
        self.audit("budget", "warning", f"{alert.percent} % of a ceiling is used", **detail)
        self.happened(Happened(records.EventKind.BUDGET_ALERT, data={**detail, "percent": alert.percent}))

    def forget_receipt(self, stored: records.StoredReceipt) -> None:
        """Delete a receipt that settled nothing, because it can be settled now."""
        self.tx.delete(records.StoredReceipt, stored.digest)

    def tell(self, run: str, kind: str, what: str, verdict: str, detail: str = "") -> None:
        """Add an entry to the run's timeline (`pancode why`)."""
        last = self.tx.find(records.Decision, {"run": run}, order="number", descending=True, limit=1)
        number = last[0].number + 1 if last else 1
        if kind == "node" and number > MOST_TOLD:
            return  # A node can send any number of entries, but all runs share the ledger.
        self.tx.insert(
            records.Decision(run, number, self.core.wall_ms(), kind, what, verdict, detail[:TOLD_CHARS])
        )

    def audit(self, domain: Domain, level: str, what: str, run: str | None = None, **detail: object) -> None:
        """Add an entry to the audit log, and an event to the feed."""
        self._record([AuditLine(domain, level, what, run, detail)])
        node = detail.get("node")
        data: dict[str, object] = {"domain": domain, "level": level, "what": what}
        self.happened(Happened(records.EventKind.AUDIT, run, node if isinstance(node, str) else None, data))

    def _record(self, lines: Iterable[AuditLine]) -> None:
        for line in lines:
            last = self._audited or self.tx.find(records.Audit, order="number", descending=True, limit=1)
            number, previous = (last[0].number + 1, digest_of(last[0])) if last else (1, "")
            at_ms, what = self.core.wall_ms(), (line.domain, line.level, line.what, line.detail, line.run)
            entry = records.Audit(number, at_ms, *what, previous)
            self.tx.insert(entry)
            self._audited = [entry]
            if is_anchored(number):
                signed = self.core.key.sign(ANCHOR_TYPE, anchor_payload(self.core.fleet, entry))
                self.tx.put(records.AuditAnchor(number, signed.model_dump_json()))

    def happened(self, event: Happened) -> None:
        """Add an event to the feed; a full feed drops its oldest event. Event numbers are never reused."""
        feed, tx = self.core.feed, self.tx
        last = self._events[-1:] or tx.find(records.FeedEvent, order="number", descending=True, limit=1)
        number = max(last[0].number if last else 0, self.core.epoch * NUMBERS_IN_AN_EPOCH) + 1
        row = records.FeedEvent(number, self.core.wall_ms(), event.kind, event.run, event.node, event.data)
        tx.insert(row)
        self._events.append(row)
        beyond = feed.beyond(len(self._events))
        if beyond > 0:
            tx.delete(records.FeedEvent, feed.oldest(beyond)[-1].number)

    def send(self, name: str, body: ControlBody) -> None:
        """Sign and store the next control message for node `name`; do nothing for a node without a key."""
        node = self.tx.get(records.Node, name)
        if node is None or node.tag is None:
            return
        core, epoch = self.core, self.core.read_epoch(self.tx) or self.core.epoch
        seq = max(node.control_seq, epoch * NUMBERS_IN_AN_EPOCH) + 1
        self.tx.put(replace(node, control_seq=seq))
        message = Control(fleet=core.fleet, node=node.tag, seq=seq, at=core.now(), body=body)
        text = message.signed(core.key_for(node)).model_dump_json()
        self.tx.insert(records.ControlMessage(node.tag, seq, text, core.ports.clock.boot_ms()))
        self.after(partial(core.live.outbox.issued.append, (node.tag, seq)))

    # -- after the commit --------------------------------------------------------------------------

    def after(self, note: Callable[[], object]) -> None:
        """Call `note` after the commit."""
        self._after.append(note)

    def once(self, key: str, within_ms: int) -> bool:
        """Whether to report `key` now: it was reported neither within that time nor in this transaction."""
        boot, sent = self.core.ports.clock.boot_ms(), self.core.live.outbox.sent_ms
        if key in self._seen_keys or (key in sent and boot - sent[key] < within_ms):
            return False
        self._seen_keys.add(key)
        self.after(partial(sent.__setitem__, key, boot))
        return True

    def first(self, key: str) -> bool:
        """Count the refusal with this key, and return whether it is the first one."""
        refusals = self.core.live.tally.refusals
        is_first = key not in refusals and key not in self._seen_keys
        self._seen_keys.add(key)
        self.after(lambda: refusals.__setitem__(key, refusals.get(key, 0) + 1))
        return is_first

    def committed(self) -> None:
        """Update memory and publish events after the commit."""
        for note in self._after:
            note()
        if self._events:
            self.core.feed.publish(self._events)

    def _note(self, changes: Changes) -> None:
        live, run = self.core.live, changes.run
        for lease in changes.closed:
            remember_job(self.core, lease)
            identity = identity_of(lease)
            live.sweep.closed.append(identity)
            if lease.closed is records.Closed.LOST:
                live.answers.given_up_ms[str(identity)] = self.core.ports.clock.boot_ms()
            else:
                boot = self.core.ports.clock.boot_ms()
                live.contacts.freed.setdefault(lease.tag, {})[str(identity)] = boot
        if changes.ended and run.judges is None:
            live.tally.ended[(str(run.outcome), run.runtime, str(run.result.get("node") or ""))] += 1
        for staged in changes.stages:
            lease = staged.lease
            ms = max(0, self.core.wall_ms() - lease.bound_ms)
            JobLine.of(staged.stage, identity_of(lease), lease.node, ms, staged.detail).write()
        breaker_service.note_changes(self.core, changes)


@contextmanager
def unit_of_work(core: Core) -> Iterator[Work]:
    """Open the ledger's only transaction; after its commit, update memory."""
    with core.lock:
        with core.ports.ledger.transaction() as tx:
            work = Work(core, tx)
            yield work
        work.committed()


def fall_behind(core: Core, told: str) -> None:
    """Stop acting if this core is to: `told` says what a node knows that the ledger lacks, so the ledger was
    put back, and another coordinator has led the fleet since."""
    if core.ends_if_behind and not core.is_behind:
        with unit_of_work(core) as work:
            work.tx.put(records.Setting(BEHIND, told, core.wall_ms(), "coordinator"))
            work.audit("fleet", "error", "this ledger was put back", why=told)
        core.is_behind = True
