"""The coordinator's in-memory state, which is lost when it ends; one small record per subject.

Nothing here decides about budgets or about permission to run: a restart begins with empty records. Each
record has one owner, the module that writes it. What belongs to a transaction is written after its commit.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from queue import SimpleQueue

from node_agent.wire.identity import AttemptId
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Heartbeat, NodeProfile
from pancode.budget.track_record_rules import TrackRecord, WorkKey, key_of, record_of
from pancode.kernel.errors import UnavailableError
from pancode.kernel.node import LastHeartbeat, Linked, Listening, NodeState, Reaching
from pancode.kernel.ports import Transaction
from pancode.kernel.quota import Flood
from pancode.kernel.records import EndedRun, EventKind, FeedEvent, Lease
from pancode.kernel.visitors import WebCode
from pancode.runs.placement.breakers import EndedTries, EndedTry
from pancode.runs.placement.placement import Shun

WINDOW_MS, STEP_MS = 600_000, 30_000
"""The spending speed is measured over the last ten minutes and updated every half minute."""
SOON_MS, LATER_MS = 600_000, 1_800_000
"""If the budget would end within the first time, slots are limited until it would last for the second."""
HURRY = "at the rate of the last ten minutes the day's budget would soon be used up"
"""It has no number, which would change with each update, and so would the reasons of all waiting runs."""


@dataclass(frozen=True, slots=True)
class BudgetSpeed:
    """Amounts settled during a day, by boot clock. `why`: why slots are limited; empty: they are not."""

    day: str = ""
    seen: tuple[tuple[int, Decimal], ...] = ()
    why: str = ""


def update_speed(
    before: BudgetSpeed, now_ms: int, day: str, spent: Decimal, left: Decimal | None
) -> BudgetSpeed:
    """Return the updated speed. `left`: what is left under the ceiling; None: no ceiling."""
    if day != before.day or left is None:
        return BudgetSpeed(day, ((now_ms, spent),))
    if before.seen and now_ms - before.seen[-1][0] < STEP_MS:
        return before
    seen = (*(one for one in before.seen if now_ms - one[0] <= WINDOW_MS), (now_ms, spent))
    then_ms, then = seen[0]
    if spent <= then:
        return BudgetSpeed(day, seen)
    lasts_ms = int(max(left, Decimal(0)) / (spent - then) * (now_ms - then_ms))
    hurried = lasts_ms < (LATER_MS if before.why else SOON_MS)
    return BudgetSpeed(day, seen, HURRY if hurried else "")


MOST = 5_000
"""How many of the newest events are stored, in the ledger and in memory."""


class Feed:
    """The newest events, loaded at the start and extended after each commit. Thread-safe."""

    most = MOST

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[FeedEvent] = []
        self._listeners: list[tuple[Callable[[], None], frozenset[EventKind] | None]] = []

    def load(self, tx: Transaction) -> None:
        """Load the events from the ledger."""
        with self._lock:
            self._events = tx.find(FeedEvent, order="number")

    def listen(self, listener: Callable[[], None], kinds: frozenset[EventKind] | None = None) -> None:
        """Call `listener`, which must not block, after each event of these kinds (None: of any kind)."""
        self._listeners.append((listener, kinds))

    def publish(self, events: Iterable[FeedEvent]) -> None:
        """Add these events, which are already durable and newer than all others."""
        new = list(events)
        there = {event.kind for event in new}
        with self._lock:
            self._events.extend(new)
            del self._events[: max(0, len(self._events) - MOST)]
        for listener, kinds in self._listeners:
            if kinds is None or kinds & there:
                listener()

    @property
    def last(self) -> int:
        """Return the number of the newest event; 0: there are no events."""
        with self._lock:
            return self._events[-1].number if self._events else 0

    def oldest(self, count: int) -> list[FeedEvent]:
        """Return the oldest events, which are pruned first."""
        with self._lock:
            return self._events[:count]

    def beyond(self, more: int) -> int:
        """Return how many events exceed the limit once `more` events are added."""
        return len(self) + more - MOST

    def __len__(self) -> int:
        return len(self._events)

    def newest(self, count: int) -> list[FeedEvent]:
        """Return the newest events, oldest first."""
        with self._lock:
            return self._events[max(0, len(self._events) - count) :]

    def since(self, number: int) -> list[FeedEvent] | None:
        """Return all events after this number; None if this number is too old, so that events may be missing.

        Each epoch begins with higher numbers, so a number from before a restore of the ledger is not known.
        """
        with self._lock:
            if number == 0 and not self._events:
                return []
            place = bisect_left(self._events, number, key=lambda event: event.number)
            if place == len(self._events) or self._events[place].number != number:
                return None
            return self._events[place + 1 :]


LOOKED_AT = 5_000
"""How many of the newest ended runs are evaluated; models and agents change, so older ones mean little."""


class RecentRuns:
    """The newest ended runs, and the sums of their records. One module writes; `sums` returns a copy."""

    def __init__(self, rows: Iterable[EndedRun], most: int = LOOKED_AT) -> None:
        """`rows`: the ended runs, oldest first. `most`: how many are kept."""
        self._most, self._rows = most, dict[str, EndedRun]()
        self._sums: dict[WorkKey, TrackRecord] = {}
        for row in rows:
            self.note(row)

    @property
    def sums(self) -> Mapping[WorkKey, TrackRecord]:
        return dict(self._sums)

    def note(self, row: EndedRun) -> None:
        """Add an ended run, or replace its row if more is known now."""
        self._add(self._rows.get(row.run), sign=-1)
        self._rows[row.run] = row
        self._add(row, sign=1)
        if len(self._rows) > self._most:
            self._add(self._rows.pop(next(iter(self._rows))), sign=-1)

    def _add(self, row: EndedRun | None, sign: int) -> None:
        record = record_of(row) if row is not None else None
        if row is None or record is None:
            return
        key = key_of(row)
        left = self._sums.get(key, TrackRecord()) + (record if sign > 0 else -record)
        if left.runs:
            self._sums[key] = left
        else:
            self._sums.pop(key, None)


@dataclass
class Contacts:
    """Contacts with nodes, such as the last heartbeat of each. Written by `heartbeats`."""

    last_heartbeats: dict[str, LastHeartbeat] = field(default_factory=dict)
    subscriptions: dict[str, frozenset[str]] = field(default_factory=dict)
    """By node name: its runtimes whose login is a subscription, according to its last heartbeat."""
    raw: dict[str, bytes] = field(default_factory=dict)
    """The last heartbeat envelope by tag; the same bytes are not verified again."""
    profiles: dict[str, tuple[str, NodeProfile]] = field(default_factory=dict)
    """The last verified profile by tag, and its digest."""
    first_epoch: int = 0
    """The epoch in which this coordinator process began; echoes of its epochs use its boot clock."""
    echoed_ms: dict[str, int] = field(default_factory=dict)
    """By tag: the boot clock of the newest coordinator heartbeat that the node has echoed."""
    met: set[str] = field(default_factory=set)
    """Nodes that have echoed a heartbeat of the coordinator in the current epoch."""
    raised: dict[str, int] = field(default_factory=dict)
    """How often a node caused the epoch to be raised, by node."""
    sent: dict[str, int] = field(default_factory=dict)
    """The number of the newest message to each node, by name, that the ledger had when this process began."""
    sessions: dict[str, dict[str, int]] = field(default_factory=dict)
    """By tag and session: the boot clock when the session first echoed a heartbeat that was sent after the
    other sessions were heard."""
    freed: dict[str, dict[str, int]] = field(default_factory=dict)
    """By node: attempts whose end it has reported since its last heartbeat, and when the report arrived."""

    def complete_heartbeat(self, heartbeat: Heartbeat, read: Callable[[str], bytes]) -> Heartbeat:
        """Return the heartbeat with the facts that it names by their signed digest. `read`: reads them.

        If they are missing, or the node has replaced them meanwhile, the facts are those of before, or none,
        so that the node is given no work that needs them. Raises ValueError.
        """
        tag, digest = heartbeat.node, heartbeat.profile
        if digest is None:
            return heartbeat
        if tag not in self.profiles or self.profiles[tag][0] != digest:
            data = read(tag)
            if hashlib.sha256(data).hexdigest() == digest:
                self.profiles[tag] = digest, NodeProfile.model_validate_json(data)
        known = self.profiles.get(tag)
        facts = heartbeat.facts if known is None else heartbeat.facts.with_profile(known[1])
        return heartbeat.model_copy(update={"facts": facts})

    def forget(self, tag: str) -> None:
        """Forget the node's last heartbeat, which is no longer stored in Redis."""
        self.last_heartbeats.pop(tag, None)
        self.raw.pop(tag, None)
        self.profiles.pop(tag, None)


@dataclass
class Heartbeats:
    """The coordinator's own heartbeats. Written by `liveness`."""

    watch: Listening
    sent: deque[int] = field(default_factory=lambda: deque(maxlen=1_000))
    """The boot-clock times of the latest heartbeats in the current epoch."""
    seq: int = 0
    last_ms: int = -1
    is_refused: bool = False
    """Whether Redis did not accept the latest one; then it does not accept those of nodes either."""

    def refuse(self) -> None:
        """Note that Redis did not accept the heartbeat; it is sent again in the next pass."""
        self.is_refused = True
        self.due_now()

    def due_now(self) -> None:
        """Make the next heartbeat due, so that it is sent in this pass."""
        self.last_ms = -1


@dataclass
class Outages:
    """The last reported states of nodes. Written by `liveness`."""

    states: dict[str, NodeState] = field(default_factory=dict)
    """By node: the state that was last written to the feed."""
    away: dict[str, Lease] = field(default_factory=dict)
    """The lease of each active attempt whose node is silent, by attempt."""
    shown: dict[str, tuple[NodeState, int]] = field(default_factory=dict)
    """By node: the state that interfaces last saw, and since when. Owner: `fleet.fleet`."""


@dataclass
class ControlsSent:
    """Control messages in transit. Written by `work` for new messages and by `liveness` for their sending."""

    issued: list[tuple[str, int]] = field(default_factory=list)
    """Tag and number of each message created since messages were last sent."""
    sent_ms: dict[str, int] = field(default_factory=dict)
    """By message or answer: the boot clock when it was last sent."""
    seen: dict[str, int] = field(default_factory=dict)
    """By tag: the last message number that the node had seen when all messages were last examined."""
    due_ms: int = 0
    """The boot-clock time at which all waiting messages are examined next."""


@dataclass
class Journals:
    """Differences between nodes' journals and the ledger. Written by `journals`."""

    inventories: dict[str, tuple[FleetTime, str]] = field(default_factory=dict)
    """By tag: time and nonce of the newest inventory, which may come before the heartbeat."""
    doubted: dict[str, int] = field(default_factory=dict)
    """By identity: the boot clock when the node's journal first lacked an attempt that it had accepted."""
    strays: dict[str, dict[str, int]] = field(default_factory=dict)
    """By run and tag: the highest lease on that node that this ledger does not know (it was restored)."""
    floors: dict[str, int] = field(default_factory=dict)
    """By run: the highest lease that some node's journal names but this ledger does not know."""
    asked_ms: dict[str, int] = field(default_factory=dict)
    """By tag: the boot clock when the node was last asked for its attempts."""
    unproven: dict[str, tuple[int, AttemptId | None]] = field(default_factory=dict)
    """Nodes, by tag, whose journal names a job that this ledger lacks: the boot clock since when, and the
    last attempt of the newest page of their report. Nothing begins until the report shows whether the ledger
    was restored."""
    disproved: set[str] = field(default_factory=set)
    """Nodes, by tag, that named such a job and did not report it. They delay nothing any more."""

    def forget_stray(self, run: str, tag: str) -> None:
        """Forget the node's lease of this run that the ledger lacks, because its attempt has ended."""
        self.strays.get(run, {}).pop(tag, None)


@dataclass
class Binding:
    """Runs that wait, and jobs that were pushed to Redis. Written by `bind`."""

    pushed_ms: dict[str, int] = field(default_factory=dict)
    """By identity: the boot clock when the job was last pushed."""
    waiting: int = 0
    """The number of waiting runs when they were last counted."""
    explained_ms: int = -1_000_000
    """The boot-clock time when the reasons of waiting runs were last updated."""
    speed: BudgetSpeed = BudgetSpeed()
    """How fast the day's budget is spent."""
    given_way: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By waiting run: the session that is suspended for it, and the boot clock of that request."""
    handed_ms: int = 0
    """The issue time of the newest job that was handed over ahead."""
    recalled: dict[str, str] = field(default_factory=dict)
    """By recalled attempt that waits on a node, and its mark then: the node with a free slot for it, or
    empty."""
    recalled_ms: int = -1_000_000
    """The boot-clock time when the jobs that wait on nodes were last examined."""
    givers_ms: int = -1_000_000
    """The boot-clock time when a session to suspend was last searched for."""
    tickets: object = None
    """The state of the queue from which the current tickets were made."""
    shown: int = 0
    """The number of tickets shown in Redis."""
    shown_ms: int = 0
    """The boot-clock time when the tickets were last written."""


@dataclass
class RedisUse:
    """The usage of Redis, and the nodes that are excluded from it. Written by `trust.quota`."""

    looked_ms: int = -1
    weighed: int = 0
    """Bytes in use when all keys were last measured, or the lowest value since then."""
    shut_out: set[str] = field(default_factory=set)
    """Tags of quarantined nodes that this coordinator process has expelled from Redis."""
    fault: UnavailableError | None = None
    """Why the last pass could not use Redis; None: it could. Written by `reconcile`."""


@dataclass
class Sweep:
    """The jobs in Redis that must still be closed. Written by `tidy`; `work` adds closed leases."""

    closed: list[AttemptId] = field(default_factory=list)
    """The leases closed since the last cleanup."""
    left: list[str] = field(default_factory=list)
    """Tags of nodes whose keys in Redis must still be examined, one tag in each pass."""
    due_ms: int = 0
    """The boot-clock time when the next examination of all tags begins."""
    pages: dict[str, int] = field(default_factory=dict)
    """By tag: where the next page of the node's started jobs begins."""


@dataclass
class PassedOver:
    """Nodes that get no jobs for some time. Written by `passed_over`."""

    resting: dict[str, Shun] = field(default_factory=dict)
    """Reason why a node gets no jobs, by node."""
    shunned: dict[str, dict[str, Shun]] = field(default_factory=dict)
    """By run and node: why the node is not offered the run."""


@dataclass
class Answers:
    """Receipts and jobs that are sent or requested again. Each field names the module that writes it."""

    requests: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By receipt: the boot clock when missing bytes were first requested; how often since. `settle`."""
    over: dict[str, deque[tuple[Lease, int]]] = field(default_factory=dict)
    """By tag: ended jobs that could still start, and how often the node was notified. Set by `reminding`."""
    given_up_ms: dict[str, int] = field(default_factory=dict)
    """By identity: the boot clock when this process gave it up as lost. Owner: `work`."""


@dataclass
class Tally:
    """Counts since the start, for metrics. Written by `work`, and `heartbeats` for messages of nodes."""

    refusals: dict[str, int] = field(default_factory=dict)
    """The number of rejected envelopes, by node, kind and reason."""
    ended: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """The number of ended runs by outcome, runtime and node (empty: no node had the run)."""


@dataclass
class LinkStates:
    """The state of the SSH links, by node. Written by the thread of the links, through `fleet.inventory`."""

    reaching: dict[str, Reaching] = field(default_factory=dict)
    """Whether the coordinator tries to reach the node; true for nodes not listed here."""
    counts: dict[str, Linked] = field(default_factory=dict)


@dataclass
class Visits:
    """Logins and requests of callers over TCP. Written by `access`."""

    codes: dict[str, WebCode] = field(default_factory=dict)
    """Codes that have not been exchanged for a token, by the digest of the code."""
    used: dict[str, str] = field(default_factory=dict)
    """By the code's digest: the token for which it was exchanged; only the newest."""
    failed_ms: deque[int] = field(default_factory=lambda: deque(maxlen=1_000))
    """The boot-clock times of the latest failed logins."""
    at_work: set[tuple[str, str]] = field(default_factory=set)
    """Caller and key of each request that is in progress."""


@dataclass
class HealthWatch:
    """The state of the health watch, which observes agents. Written by `runs.health`."""

    due_ms: int = 0
    """The boot-clock time of the next check."""
    paused_ms: int = 0
    """The boot-clock time when the watch last paused the fleet; earlier failures no longer count."""


@dataclass
class Live:
    """All in-memory state of the coordinator."""

    heartbeats: Heartbeats
    contacts: Contacts = field(default_factory=Contacts)
    outages: Outages = field(default_factory=Outages)
    outbox: ControlsSent = field(default_factory=ControlsSent)
    journals: Journals = field(default_factory=Journals)
    binding: Binding = field(default_factory=Binding)
    redis: RedisUse = field(default_factory=RedisUse)
    sweep: Sweep = field(default_factory=Sweep)
    passed_over: PassedOver = field(default_factory=PassedOver)
    sizes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The sizes of changes as text, by repository and both commits; none ever changes."""
    visits: Visits = field(default_factory=Visits)
    answers: Answers = field(default_factory=Answers)
    tally: Tally = field(default_factory=Tally)
    health: HealthWatch = field(default_factory=HealthWatch)
    links: LinkStates = field(default_factory=LinkStates)
    floods: dict[str, Flood] = field(default_factory=dict)
    """By tag: a node that sends more than passes can process. Owner: `inbound`."""
    to_record: SimpleQueue[tuple[str, str, dict[str, object]]] = field(default_factory=SimpleQueue)
    """Level, text and details of audit entries on trust from other threads; `reconcile` writes them."""
    taking: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By run whose snapshot is being taken: project, files done, number of files. Owner: `snapshots`."""
    ended_tries: list[EndedTry] = field(default_factory=list)
    """The newest ended attempts, oldest first. Written by `breakers`."""
    breaker_resets: dict[str, int] = field(default_factory=dict)
    """When a user reset a breaker, by breaker. Written by `breakers`."""
    recent: RecentRuns | None = None
    """The newest ended runs with their records; None: not yet read. `account.track_records`, `work`."""
    unknown_runs: tuple[str, int, tuple[str, ...]] | None = None
    """A scope, the count of its runs of unknown cost, and these runs. `dispatch`; `work` clears it."""
    day: str = ""
    """The day on which reservations of earlier days were last checked. Written by `expiry`."""

    def ended(self, now_ms: int, retry_pause_ms: int) -> EndedTries:
        """Return the newest ended attempts for the breakers; `retry_pause_ms`: the unit of their pauses."""
        return EndedTries(tuple(self.ended_tries), dict(self.breaker_resets), now_ms, retry_pause_ms / 10_000)

    def record_trust(self, level: str, what: str, **detail: object) -> None:
        """Queue an audit entry about trust, from any thread; the next pass writes it."""
        self.to_record.put((level, what, detail))

    def forget_unknown(self) -> None:
        """Clear the stored runs of unknown cost, because they have changed."""
        self.unknown_runs = None

    def new_epoch(self, epoch: int) -> None:
        """Begin an epoch: earlier echoes no longer count, and its first heartbeat is due."""
        self.contacts.first_epoch = self.contacts.first_epoch or epoch
        self.contacts.met.clear()
        self.heartbeats.sent.clear()
        self.heartbeats.due_now()
