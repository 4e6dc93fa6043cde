"""Applies what was decided: the one place that writes the life of a run, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from node_agent.wire.control import Control, ControlBody
from node_agent.wire.identity import AttemptId
from node_agent.wire.logs import OrderLine
from pancode.control import passed_over, reminding
from pancode.control.alerts import ALERT, Alert, alert_of
from pancode.control.audit_chain import ANCHOR_TYPE, anchor_payload, digest_of, is_anchored
from pancode.control.core import Core
from pancode.control.ended import ended_run
from pancode.core import books
from pancode.core.ports import Transaction
from pancode.core.records import (
    Action,
    Attempt,
    Audit,
    AuditAnchor,
    Balance,
    BookEntry,
    Closed,
    ControlMessage,
    Decision,
    EndedRun,
    EventKind,
    FeedEvent,
    Fence,
    Node,
    Run,
    RunState,
    Setting,
)
from pancode.life.case import Now, RunCase, may_follow
from pancode.life.changes import AuditLine, Changes, Domain, Happened, entries_of, events_of
from pancode.life.decide import decide
from pancode.life.orders import NUMBERS_IN_AN_EPOCH, identity_of
from pancode.life.signals import Signal

MOST_TOLD, TOLD_CHARS = 5_000, 4_000
"""Of a run's story: how many entries nodes may add to, and how long each may be."""


class Work:
    """One transaction, and the updates of memory after its commit: a commit that fails updates nothing."""

    def __init__(self, core: Core, tx: Transaction) -> None:
        self.core, self.tx = core, tx
        self._after: list[Callable[[], object]] = []
        self._seen_keys: set[str] = set()
        self._events: list[FeedEvent] = []
        self._audited: list[Audit] = []

    # -- load ------------------------------------------------------------------------------------

    def case(self, run: Run, about: int = 0) -> RunCase:
        """All rows of the run as they are now; `about`: the number of a fence."""
        rules, mine = self.core.rules, {"run": run.id}
        return RunCase(
            run=run,
            attempts={a.attempt: a for a in self.tx.find(Attempt, mine)},
            fences={f.fence: f for f in self.tx.find(Fence, mine)},
            entries=tuple(self.tx.find(BookEntry, mine)),
            now=Now(self.core.wall_ms(), self.core.new_entry, rules.refused_pause_ms, rules.retry_pause_ms),
            actions=tuple(self.tx.find(Action, mine)) if may_follow(run) else (),
            about=about,
        )

    def case_of(self, identity: AttemptId) -> RunCase | None:
        """None unless run, attempt and fence are all here and agree."""
        run = self.tx.get(Run, identity.run)
        case = self.case(run, identity.fence) if run is not None else None
        if case is None or identity.attempt not in case.attempts or identity.fence not in case.fences:
            return None
        return case if case.fence.attempt == identity.attempt else None

    # -- decide and apply --------------------------------------------------------------------------

    def signal(self, run: Run, *signals: Signal) -> Run:
        """Load, decide, apply; the run as it is then."""
        return self.apply(decide(self.case(run), *signals))

    def signal_fence(self, fence: Fence, *signals: Signal) -> None:
        """The same about a fence; nothing where its run or attempt is not here."""
        case = self.case_of(identity_of(fence))
        if case is not None:
            self.apply(decide(case, *signals))

    def apply(self, changes: Changes) -> Run:
        """Write what was decided. Memory is told after the commit."""
        for row in changes.new:
            self.tx.insert(row)
        for row in changes.changed:
            self.tx.put(row)
        for action in changes.gone:
            self.tx.delete(Action, action.id)
        self.book(changes.booked)
        for line in changes.story:
            self.tell(line.run, line.kind, line.what, line.verdict, line.detail)
        for one in changes.audit:
            self.audit(one.domain, one.level, one.what, one.run, **one.detail)
        self._record(entries_of(changes))  # the feed has an event of its own for each
        for message in changes.controls:
            self.send(message.node, message.body)
        for event in events_of(changes):
            self.happened(event)
        self._account(changes)
        self.after(partial(self._note, changes))
        return changes.run

    def _account(self, changes: Changes) -> None:
        """The narrow row of a run that has ended, and what memory knows of it."""
        if changes.run is changes.before.run and not changes.booked:
            return
        row = ended_run(changes.run, list(changes.case.attempts.values()), changes.case.entries)
        if row is not None:
            self.tx.put(row)
            self.after(partial(self._remember, row))
        elif changes.before.run.state is RunState.ENDED:
            self.tx.delete(EndedRun, changes.run.id)

    def _remember(self, row: EndedRun) -> None:
        if self.core.live.recent is not None:
            self.core.live.recent.note(row)

    # -- the effects -------------------------------------------------------------------------------

    def book(self, entries: Iterable[BookEntry]) -> None:
        """Entries, and the balances that they change."""
        balances: dict[str, Balance] = {}
        for entry in entries:
            self.tx.insert(entry)
            scope = entry.scope
            known = balances.get(scope) or self.tx.get(Balance, scope) or Balance(scope)
            balances[scope] = books.apply(known, entry)
            if "unknown" in (entry.kind, entry.source):
                self.after(self.core.live.forget_unknown)
        for balance in balances.values():
            self.tx.put(balance)
        for purse in self.core.limited(self.tx, balances.values()):
            alert = alert_of(purse.balance, purse.ceilings)
            if alert is not None:
                self._alert(alert)

    def _alert(self, alert: Alert) -> None:
        """Warn a person, once for each ceiling that a scope has had."""
        name = f"{ALERT}{alert.scope}"
        known = self.tx.get(Setting, name)
        if known is not None and known.value == alert.ceiling:
            return
        self.tx.put(Setting(name, alert.ceiling, self.core.wall_ms(), "coordinator"))
        detail = {"scope": alert.scope, "used": alert.used, "ceiling": alert.ceiling}
        self.audit("budget", "warning", f"{alert.percent} % of a ceiling is used", **detail)
        self.happened(Happened(EventKind.BUDGET_ALERT, data={**detail, "percent": alert.percent}))

    def tell(self, run: str, kind: str, what: str, verdict: str, detail: str = "") -> None:
        """Add to the run's story (`pancode why`)."""
        last = self.tx.find(Decision, {"run": run}, order="number", descending=True, limit=1)
        number = last[0].number + 1 if last else 1
        if kind == "node" and number > MOST_TOLD:
            return  # a node can say as much as it likes, and the ledger is for all
        self.tx.insert(Decision(run, number, self.core.wall_ms(), kind, what, verdict, detail[:TOLD_CHARS]))

    def audit(self, domain: Domain, level: str, what: str, run: str | None = None, **detail: object) -> None:
        """Add to the record of everything, and to the feed."""
        self._record([AuditLine(domain, level, what, run, detail)])
        node = detail.get("node")
        data: dict[str, object] = {"domain": domain, "level": level, "what": what}
        self.happened(Happened(EventKind.AUDIT, run, node if isinstance(node, str) else None, data))

    def _record(self, lines: Iterable[AuditLine]) -> None:
        for line in lines:
            last = self._audited or self.tx.find(Audit, order="number", descending=True, limit=1)
            number, previous = (last[0].number + 1, digest_of(last[0])) if last else (1, "")
            at_ms, what = self.core.wall_ms(), (line.domain, line.level, line.what, line.detail, line.run)
            entry = Audit(number, at_ms, *what, previous)
            self.tx.insert(entry)
            self._audited = [entry]
            if is_anchored(number):
                signed = self.core.key.sign(ANCHOR_TYPE, anchor_payload(self.core.fleet, entry))
                self.tx.put(AuditAnchor(number, signed.model_dump_json()))

    def happened(self, event: Happened) -> None:
        """Add to the feed; its oldest goes when it is full. No number is used twice, as those of controls."""
        feed, tx = self.core.feed, self.tx
        last = self._events[-1:] or tx.find(FeedEvent, order="number", descending=True, limit=1)
        number = max(last[0].number if last else 0, self.core.epoch * NUMBERS_IN_AN_EPOCH) + 1
        row = FeedEvent(number, self.core.wall_ms(), event.kind, event.run, event.node, event.data)
        tx.insert(row)
        self._events.append(row)
        beyond = feed.beyond(len(self._events))
        if beyond > 0:
            tx.delete(FeedEvent, feed.oldest(beyond)[-1].number)

    def send(self, name: str, body: ControlBody) -> None:
        """Sign and keep the next control message for a node; nothing for one that has no key."""
        node = self.tx.get(Node, name)
        if node is None or node.tag is None:
            return
        core, stored = self.core, self.tx.get(Setting, "epoch")
        epoch = stored.value if stored is not None and isinstance(stored.value, int) else core.epoch
        seq = max(node.control_seq, epoch * NUMBERS_IN_AN_EPOCH) + 1
        self.tx.put(replace(node, control_seq=seq))
        message = Control(fleet=core.fleet, node=node.tag, seq=seq, at=core.now(), body=body)
        text = message.signed(core.key_for(node)).model_dump_json()
        self.tx.insert(ControlMessage(node.tag, seq, text, core.ports.clock.boot_ms()))
        self.after(partial(core.live.outbox.issued.append, (node.tag, seq)))

    # -- after the commit --------------------------------------------------------------------------

    def after(self, note: Callable[[], object]) -> None:
        """Do this once all that was written is durable."""
        self._after.append(note)

    def once(self, key: str, within_ms: int) -> bool:
        """Whether this is said now: it was not within that time, nor before in this transaction."""
        boot, sent = self.core.ports.clock.boot_ms(), self.core.live.outbox.sent_ms
        if key in self._seen_keys or (key in sent and boot - sent[key] < within_ms):
            return False
        self._seen_keys.add(key)
        self.after(partial(sent.__setitem__, key, boot))
        return True

    def first(self, key: str) -> bool:
        """Whether this refusal is the first one of its kind; all are counted."""
        refusals = self.core.live.tally.refusals
        is_first = key not in refusals and key not in self._seen_keys
        self._seen_keys.add(key)
        self.after(lambda: refusals.__setitem__(key, refusals.get(key, 0) + 1))
        return is_first

    def committed(self) -> None:
        """The commit is durable."""
        for note in self._after:
            note()
        if self._events:
            self.core.feed.publish(self._events)

    def _note(self, changes: Changes) -> None:
        live, run = self.core.live, changes.run
        for fence in changes.closed:
            reminding.note(self.core, fence)
            identity = identity_of(fence)
            live.sweep.closed.append(identity)
            if fence.closed is Closed.LOST:
                live.answers.given_up_ms[str(identity)] = self.core.ports.clock.boot_ms()
            else:
                boot = self.core.ports.clock.boot_ms()
                live.contacts.freed.setdefault(fence.tag, {})[str(identity)] = boot
        if changes.ended:
            live.tally.ended[(str(run.outcome), run.runtime, str(run.result.get("node") or ""))] += 1
        for staged in changes.stages:
            fence = staged.fence
            ms = max(0, self.core.wall_ms() - fence.bound_ms)
            OrderLine.of(staged.stage, identity_of(fence), fence.node, ms, staged.detail).write()
        passed_over.note_changes(self.core, changes)


@contextmanager
def unit_of_work(core: Core) -> Iterator[Work]:
    """One transaction of the ledger, one at a time; memory is told when it has been committed."""
    with core.lock:
        with core.ports.ledger.transaction() as tx:
            work = Work(core, tx)
            yield work
        work.committed()
