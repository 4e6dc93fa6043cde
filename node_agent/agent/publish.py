"""Signs this node's events and sends them in order until the coordinator confirms them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from node_agent.agent.fleettime import FleetClock
from node_agent.attempt.claims import Self
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import Spoken, Uplink
from node_agent.attempt.records import JournalRecord
from node_agent.intervals import Intervals
from node_agent.wire.clock import Clock
from node_agent.wire.event import MOST_EVENTS, Event, EventBody, Events, events_of
from node_agent.wire.identity import AttemptId
from node_agent.wire.signing import SigningKey

AT_ONCE = 100
"""The maximum number of envelopes in one call."""
Seal = Callable[[Sequence[str]], str]
"""Makes one signed envelope from the texts of events."""


class EventSigner:
    """Makes the text of an event for the journal, and signed envelopes of events to send. An event that is
    sent twice is signed twice, as the coordinator identifies it by number, not by envelope."""

    def __init__(self, node: Self, key: SigningKey, clock: Clock, fleet: FleetClock) -> None:
        self._node, self._key, self._clock, self._fleet = node, key, clock, fleet

    def __call__(self, identity: AttemptId, seq: int, body: EventBody) -> str:
        event = Event(
            identity=identity,
            seq=seq,
            wall_ms=self._clock.wall_ms(),
            at=self._fleet.now(self._clock.boot_ms()),
            body=body,
        )
        return event.canonical().decode()

    def seal(self, texts: Sequence[str]) -> str:
        batch = events_of(self._node.fleet, self._node.tag, texts)
        return self._key.sign(Events.payload_type(), batch).model_dump_json()


@dataclass(frozen=True, eq=False, slots=True)
class Posted:
    """A receipt that waits to be sent. Two objects are never equal."""

    receipt: str


class Outbox:
    """The journal's events that are still to be sent. It has no state that a restart would lose: the
    coordinator's heartbeat lists its open attempts, with the newest event of each that it has received."""

    def __init__(
        self, journal: Journal, uplink: Uplink, clock: Clock, intervals: Intervals, seal: Seal
    ) -> None:
        self._journal, self._uplink, self._clock, self._intervals = journal, uplink, clock, intervals
        self._seal = seal
        self._lock = threading.Lock()
        self._due: dict[AttemptId, None] = {}
        # The number of the last event sent, and the time at which it was sent.
        self._sent: dict[AttemptId, tuple[int, int]] = {}
        self._posted: list[Posted] = []

    def note(self, identity: AttemptId) -> None:
        """Record that this attempt may have new events."""
        entry = self._journal.get(identity)
        if entry is None or entry.last_event > self._sent.get(identity, (0, 0))[0]:
            self._due[identity] = None

    def again(self, identity: AttemptId, above: int = 0) -> None:
        """Send every event of the attempt with a higher number than `above` again."""
        with self._lock:
            self._sent[identity] = (above, self._clock.mono_ms())
            self._due[identity] = None

    def hear(self, cursors: Mapping[str, int]) -> None:
        """Process the coordinator's cursors: an event above its attempt's cursor that was sent long enough
        ago counts as lost."""
        now = self._clock.mono_ms()
        for name, cursor in cursors.items():
            entry = self._find_entry(name)
            if entry is None or entry.last_event <= cursor or entry.identity in self._due:
                continue
            _, when = self._sent.get(entry.identity, (0, None))
            if when is None or now - when >= self._intervals.resend_ms:
                self.again(entry.identity, cursor)

    def _find_entry(self, name: str) -> JournalRecord | None:
        try:
            return self._journal.get(AttemptId.parse(name))
        except ValueError:
            return None

    @property
    def posted(self) -> tuple[str, ...]:
        """Return the receipts that are being sent or wait to be sent."""
        return tuple(one.receipt for one in self._posted)

    @property
    def is_due(self) -> bool:
        """Whether there may be events to send."""
        return bool(self._due)

    def flush(self) -> None:
        """Send all due events now. After LinkDown they stay due, so some may be sent twice."""
        with self._lock:
            self._flush()

    def deliver(self, receipt: str) -> None:
        """Send a receipt after the due events; receipts of several threads are sent together. LinkDown."""
        mine = Posted(receipt)
        self._posted.append(mine)
        with self._lock:
            if mine not in self._posted:
                return  # Another thread sent this receipt with its own while this thread waited.
            try:
                self._flush()
            finally:
                if mine in self._posted:
                    self._posted.remove(mine)

    def _flush(self) -> None:
        # The events come first: those before a receipt were noted before the receipt was posted.
        posted = list(self._posted)
        due = list(self._due)
        for identity in due:
            # Reset this before reading, so that a note that arrives meanwhile is not lost.
            self._due.pop(identity, None)
        try:
            self._send(
                [(identity, self._list_unsent(identity)) for identity in due], [p.receipt for p in posted]
            )
        except BaseException:
            self._due.update(dict.fromkeys(due))
            raise
        for one in posted:
            self._posted.remove(one)

    def _list_unsent(self, identity: AttemptId) -> list[Spoken]:
        entry = self._journal.get(identity)
        sent, _ = self._sent.get(identity, (0, 0))
        if entry is None or entry.last_event <= sent:
            return []
        return self._journal.events(identity, sent)

    def _send(self, unsent: list[tuple[AttemptId, list[Spoken]]], receipts: list[str]) -> None:
        texts = [event.text for _, events in unsent for event in events]
        sealed = (self._seal(texts[at : at + MOST_EVENTS]) for at in range(0, len(texts), MOST_EVENTS))
        envelopes = [*sealed, *receipts]
        for start in range(0, len(envelopes), AT_ONCE):
            self._uplink.send(*envelopes[start : start + AT_ONCE])
        now = self._clock.mono_ms()
        self._sent.update({identity: (events[-1].seq, now) for identity, events in unsent if events})

    def forget(self, identity: AttemptId) -> None:
        """Forget the events of an attempt that is closed."""
        with self._lock:
            if identity not in self._due:
                self._sent.pop(identity, None)
