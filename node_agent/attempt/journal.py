"""The node's durable memory: turns records into entries, numbers events and maintains the receipts' chain."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from node_agent.attempt.ports import DiskFull, Spoken
from node_agent.attempt.records import (
    JournalError,
    JournalRecord,
    JournalState,
    Note,
    apply_record,
    first_record,
    may_follow,
    open_entry,
    record_of,
    state_from_json,
    state_to_json,
)
from node_agent.attempt.verdict import fault_from_json
from node_agent.files.durable import from_json, to_json
from node_agent.wire.clock import Clock
from node_agent.wire.event import EventBody
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.logs import STAGES, JobLine
from node_agent.wire.signing import parse_envelope, parse_message

MOST_SAID = 64
"""The maximum number of one attempt's events that stay in memory."""
Say = Callable[[AttemptId, int, EventBody], str]
"""Returns the text of an event with that number, as the journal stores it."""


class JournalStorage(Protocol):
    """The storage of records, by the attempt's name. When a call returns, its write is durable or has no
    effect. Raises DiskFull. `create` reserves the space of the records and of one receipt."""

    def names(self) -> list[str]:
        """Return the names of all entries, oldest first."""

    def create(self, name: str, record: bytes) -> None:
        """Create an entry: its first record, and reserved space for others. DiskFull leaves nothing of it."""

    def append(self, name: str, record: bytes, sync: bool = True) -> None:
        """Write the next record. Without `sync`, a later synced record or a `sync` makes it durable, in
        order."""

    def sync(self, name: str) -> None:
        """Make all records of the entry durable."""

    def seal(self, name: str, receipt: bytes, record: bytes) -> None:
        """Write the receipt and the record that reports it, atomically."""

    def append_lossy(self, name: str, record: bytes) -> None:
        """Write a record into space that was not reserved."""

    def read(self, name: str) -> list[bytes]:
        """Return the readable records, beginning with the first."""

    def is_damaged(self, name: str) -> bool:
        """Whether complete records were lost; a truncated last record was incomplete, so does not count."""

    def read_lossy(self, name: str) -> list[bytes]:
        """Return the records in space that was not reserved."""

    def receipt(self, name: str) -> bytes | None:
        """Return the sealed receipt, even if records were lost; None if absent or torn."""

    def close(self, name: str) -> None:
        """Free the unused reserved space, because no more records will follow."""

    def set_aside(self, name: str) -> str:
        """Move a damaged entry away; return the new path."""

    def repair(self, name: str) -> str:
        """Reduce an entry to its readable records; return the path of a copy of the damaged file, or an empty
        text if there is no space for it. Reserved space stays reserved."""

    def remove(self, name: str) -> None:
        """Remove the entry with all its files; no effect if the entry is unknown."""

    def drop(self, name: str, files: tuple[str, ...]) -> None:
        """Remove these files of other writers from the entry's folder. A missing file is not an error."""

    def folder(self, name: str) -> Path:
        """Return the entry's own folder, which exists until the entry is closed."""

    def put_node(self, state: bytes) -> None:
        """Replace the node's own state."""

    def node(self) -> bytes | None:
        """Return the node's state as last stored."""


class Journal:
    """The node's durable memory: one entry per attempt, and the node's own state.

    A writing call returns when all its data is on disk; if interrupted, it has stored nothing. It may raise
    DiskFull, except for marks and receipts, whose space `accept` reserved. Used by one process at a time, but
    by several threads; one attempt's marks come from one thread at a time.
    """

    def __init__(self, storage: JournalStorage, say: Say, clock: Clock) -> None:
        self._storage, self._say, self._clock = storage, say, clock
        # for the index and the node's state; held only briefly, without disk writes of attempts
        self._lock = threading.RLock()
        self._accepting = threading.Lock()
        self._sealing = threading.Lock()  # for the chain, in which each receipt names the previous one
        # one lock per entry, so that no entry waits for another one's disk writes
        self._locks: dict[str, threading.Lock] = {}
        self._entries: dict[str, JournalRecord] = {}
        self._live: dict[str, None] = {}
        self._top: dict[str, int] = {}
        self._troubles: list[str] = []
        self._state = self._kept = JournalState()
        self._last: tuple[int, str | None] = (0, None)  # number and digest of the newest receipt
        self._lost: list[str] = []
        self._loose: set[str] = set()  # entries whose newest records may not be durable yet
        self._sealed: dict[str, str] = {}  # receipts of this process that may still be requested
        # all events of the attempts that this process accepted, as long as they are few
        self._cache: dict[str, list[Spoken]] = {}
        self._jobs: dict[str, Job] = {}  # the jobs of these attempts, until they end
        names = storage.names()
        broken = [entry for name in names if (entry := self._load(name)) is not None]
        self._state = self._kept = self._load_state()
        if self._state.chain >= self._last[0]:
            self._last = self._state.chain, self._state.last_receipt
        for entry in broken:
            self._repair(entry)

    def accept(self, job: Job, digest: str, envelope: str, note: Note) -> JournalRecord:
        """Open an entry with its first mark: held, accepted or refused. JournalError if the entry exists."""
        name = str(job.identity)
        with self._accepting:
            if name in self._entries:
                raise JournalError(f"{name} already exists in the journal")
            head = {"identity": name, "digest": digest, "epoch": job.epoch, "order": envelope}
            events = self._number_events(job.identity, 0, note.say)
            record = first_record(note, head, events, self._clock.wall_ms())
            self._storage.create(name, to_json(record))
            self._cache[name], self._jobs[name] = _make_spoken(events), job
            self._cache_entry(entry := open_entry(record))
            return entry

    def get(self, identity: AttemptId) -> JournalRecord | None:
        """Return the current entry. Reads memory, not the disk."""
        return self._entries.get(str(identity))

    def entries(self) -> list[JournalRecord]:
        """Return all entries, oldest first. Reads memory, not the disk."""
        with self._lock:
            return list(self._entries.values())

    def live(self) -> list[JournalRecord]:
        """Return the entries for which this node still has work, oldest first. Reads memory, not the disk."""
        with self._lock:
            return [self._entries[name] for name in self._live]

    def top_lease(self, run: str) -> int:
        """Return the highest lease of a run in the journal since this start of the node agent; 0 if none."""
        return self._top.get(run, 0)

    def job(self, identity: AttemptId) -> Job:
        """Return the accepted job, with checked signature. KeyError: unknown attempt; ValueError: no job."""
        job = self._jobs.get(self._require_known(identity))
        return job or parse_message(Job, parse_envelope(self.order(identity)).body())

    def order(self, identity: AttemptId) -> str:
        """Return the envelope of the attempt's job, as the coordinator signed it."""
        return str(from_json(self._storage.read(self._require_known(identity))[0])["head"]["order"])

    def write(self, identity: AttemptId, note: Note) -> JournalRecord:
        """Add the note to the entry. JournalError if its mark is not a later one. A lazy note becomes durable
        with the next note that is not lazy, with `settle`, or before one of its events is sent."""
        name = self._require_known(identity)
        with self._locks[name]:
            entry = self._entries[name]
            if entry.cleaned:
                raise JournalError(f"{name} is over")
            if note.mark is not None and not may_follow(entry, note.mark):
                raise JournalError(f"{name}: {note.mark} cannot follow {entry.mark}")
            if note.stop is not None and entry.stop is not None:
                return entry
            events = self._number_events(identity, entry.last_event, note.say)
            record = record_of(note, events, self._clock.wall_ms())
            self._put(name, note, to_json(record))
            # the events of a long run are read from the disk if needed
            cached = self._cache.get(name)
            if cached is not None:
                cached += _make_spoken(events)
                if len(cached) > MOST_SAID:
                    self._cache.pop(name, None)
            return self._cache_entry(apply_record(entry, record))

    def _put(self, name: str, note: Note, record: bytes) -> None:
        if note.lossy:
            self._make_durable(name)  # events in the lossy file must not follow a gap
            self._storage.append_lossy(name, record)
            return
        self._storage.append(name, record, sync=not note.lazy)
        (self._loose.add if note.lazy else self._loose.discard)(name)
        if note.cleaned:
            self._storage.close(name)
            for kept in (self._sealed, self._cache, self._jobs):
                kept.pop(name, None)

    def settle(self, identity: AttemptId | None = None) -> None:
        """Make all notes of this attempt, or of every attempt, durable across a power failure."""
        for name in [*self._loose] if identity is None else [str(identity)]:
            lock = self._locks.get(name)
            if lock is not None:
                with lock:
                    self._make_durable(name)

    def _make_durable(self, name: str) -> None:
        if name in self._loose:
            self._storage.sync(name)
            self._loose.discard(name)

    def seal(self, identity: AttemptId, envelope: str, digest: str, previous: str | None) -> bool:
        """Store and mark the receipt as next in this node's chain; False if `previous` is not the last."""
        name = self._require_known(identity)
        with self._sealing, self._locks[name]:
            number, last = self._last
            if last != previous:
                return False
            entry = self._entries[name]
            if not may_follow(entry, Mark.RECEIPTED):
                raise JournalError(f"{name}: a receipt cannot follow {entry.mark}")
            record: dict[str, Any] = {"w": self._clock.wall_ms(), "m": Mark.RECEIPTED.value, "d": {}}
            record |= {"r": digest, "n": number + 1}
            self._storage.seal(name, envelope.encode(), to_json(record))
            self._loose.discard(name)
            self._sealed[name] = envelope
            self._cache_entry(apply_record(entry, record))
            return True

    def last_receipt(self) -> str | None:
        """Return the digest of this node's newest receipt."""
        with self._lock:
            return self._last[1]

    def receipt(self, identity: AttemptId) -> str | None:
        """Return the sealed envelope of the attempt's receipt."""
        name = self._require_known(identity)
        kept = self._sealed.get(name)
        if kept is None and (read := self._storage.receipt(name)) is not None:
            kept = read.decode()
        return kept

    def events(self, identity: AttemptId, above: int) -> list[Spoken]:
        """Return the attempt's events with a number higher than `above`, in order."""
        name = self._require_known(identity)
        with self._locks[name]:
            self._make_durable(name)  # an event number that was reported must not be used again
            cached = self._cache.get(name)
            if cached is not None:
                return [event for event in cached if event.seq > above]
        records = self._storage.read(name) + self._storage.read_lossy(name)
        found = {int(seq): str(text) for raw in records for seq, text in from_json(raw).get("e", ())}
        return [Spoken(seq, found[seq]) for seq in sorted(found) if seq > above]

    def drop(self, identity: AttemptId, files: tuple[str, ...]) -> None:
        """Remove these outputs from the attempt's folder. A missing file is not an error."""
        self._storage.drop(self._require_known(identity), files)

    def folder(self, identity: AttemptId) -> Path:
        """Return the folder of the attempt's plans, records and outputs; it exists as long as the entry."""
        return self._storage.folder(self._require_known(identity))

    def node(self) -> JournalState:
        """Return the node's own state. Reads memory, not the disk."""
        return self._state

    def set_node(self, state: JournalState) -> None:
        """Replace the node's state atomically. After a crash, messages already seen may look unseen."""
        with self._lock:
            if replace(state, control_seq=self._state.control_seq) != self._state:
                self._keep(state)
            # the control number alone is stored only when it is reported; until then, messages repeat after a
            # crash
            self._state = state

    def kept_node(self) -> JournalState:
        """Return the node's state as stored on disk; it lacks the newest part if the disk was full."""
        with self._lock:
            if self._kept != self._state:
                with suppress(DiskFull):
                    self._keep(self._state)
            return self._kept

    def _keep(self, state: JournalState) -> None:
        self._storage.put_node(to_json(state_to_json(state)))
        self._kept = state

    def forget(self, identity: AttemptId) -> None:
        """Remove an entry with all its files; no effect if the entry is unknown."""
        name = str(identity)
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None and entry.chain > self._state.chain:
                self.set_node(replace(self._state, chain=entry.chain, last_receipt=entry.receipt))
            self._storage.remove(name)
            self._loose.discard(name)
            for index in (self._entries, self._live, self._locks, self._sealed, self._cache, self._jobs):
                index.pop(name, None)

    def lost(self) -> tuple[str, ...]:
        """Return the attempts (as text) whose entry is unreadable; their running processes must be killed."""
        return tuple(self._lost)

    def troubles(self) -> tuple[str, ...]:
        """Return descriptions of the damaged journal records, for a user."""
        return tuple(self._troubles)

    # -- inside

    def _require_known(self, identity: AttemptId) -> str:
        name = str(identity)
        if name not in self._entries:
            raise KeyError(name)
        return name

    def _cache_entry(self, entry: JournalRecord) -> JournalRecord:
        name, run = str(entry.identity), entry.identity.run
        with self._lock:
            self._entries[name] = entry
            if entry.cleaned:
                self._live.pop(name, None)
            else:
                self._live.setdefault(name)
            self._locks.setdefault(name, threading.Lock())
            self._top[run] = max(self._top.get(run, 0), entry.identity.lease)
            if entry.chain > self._last[0]:
                self._last = entry.chain, entry.receipt
        return entry

    def _number_events(
        self, identity: AttemptId, last: int, bodies: tuple[EventBody, ...]
    ) -> list[tuple[int, str]]:
        return [(seq, self._say(identity, seq, body)) for seq, body in enumerate(bodies, last + 1)]

    def _load(self, name: str) -> JournalRecord | None:
        """Load an entry; return it only if a part of it is damaged."""
        try:
            AttemptId.parse(name)
            records, damaged = self._storage.read(name), self._storage.is_damaged(name)
            if not records and not damaged:
                # the node crashed before the attempt was accepted, so nothing was reported
                self._storage.remove(name)
                return None
            entry = self._read_entry(name, records)
        except (ValueError, KeyError, TypeError, IndexError) as exc:
            self._set_aside(name, str(exc))
            return None
        self._cache_entry(entry)
        if not entry.cleaned:
            self._loose.add(name)
        return entry if damaged else None

    def _read_entry(self, name: str, records: list[bytes]) -> JournalRecord:
        entry = open_entry(from_json(records[0]))
        if str(entry.identity) != name:
            raise ValueError(f"the folder contains the entry of {entry.identity}")
        for raw in records[1:]:
            entry = apply_record(entry, from_json(raw))
        last = max(
            (int(e[0]) for raw in self._storage.read_lossy(name) for e in from_json(raw)["e"]), default=0
        )
        return replace(entry, last_event=max(entry.last_event, last))

    def _repair(self, entry: JournalRecord) -> None:
        """Repair a damaged entry: end its processes and report the rest; a sealed receipt stays valid."""
        name = str(entry.identity)
        place = self._storage.repair(name)
        kept = f"kept as {place}" if place else "not stored: the disk is full"
        self._troubles.append(
            f"the journal of {name} was damaged, so only its readable part is used; the "
            f"damaged file is {kept}"
        )
        record: dict[str, Any] = {"w": self._clock.wall_ms(), "x": True}
        sealed = self._storage.receipt(name)
        if sealed is not None and may_follow(entry, Mark.RECEIPTED):
            digest = parse_envelope(sealed).digest()
            record |= {"m": Mark.RECEIPTED.value, "d": {}, "r": digest, "n": self._last[0] + 1}
        self._storage.append(name, to_json(record))
        self._cache_entry(apply_record(entry, record))

    def _set_aside(self, name: str, why: str) -> None:
        place = self._storage.set_aside(name)
        self._troubles.append(f"the journal of {name} is damaged ({why}); moved to {place}")
        self._lost.append(name)

    def _load_state(self) -> JournalState:
        raw = self._storage.node()
        floor = max((entry.epoch for entry in self._entries.values()), default=0)
        if raw is None:
            return JournalState(epoch=floor)
        try:
            return state_from_json(from_json(raw))
        except (ValueError, KeyError, TypeError) as exc:
            self._troubles.append(
                f"the node's own state was damaged ({exc}); it is rebuilt from the attempts"
            )
            return JournalState(epoch=floor)


def _make_spoken(events: list[tuple[int, str]]) -> list[Spoken]:
    return [Spoken(seq, text) for seq, text in events]


class LoggedJournal(Journal):
    """A `Journal` that logs each stage of an attempt once, after storing it."""

    def __init__(self, node: str, storage: JournalStorage, say: Say, clock: Clock) -> None:
        super().__init__(storage, say, clock)
        self._node = node

    def accept(self, job: Job, digest: str, envelope: str, note: Note) -> JournalRecord:
        entry = super().accept(job, digest, envelope, note)
        self._log(frozenset(), entry)
        return entry

    def write(self, identity: AttemptId, note: Note) -> JournalRecord:
        known = self.get(identity)
        entry = super().write(identity, note)
        self._log(known.marks if known is not None else frozenset(), entry)
        return entry

    def _log(self, known: frozenset[Mark], entry: JournalRecord) -> None:
        began = entry.accepted.get("wall", entry.wall_ms)
        for mark, data in entry.data.items():
            if mark not in known and mark in STAGES:
                fault = fault_from_json(data)
                detail = str(fault.kind) if fault is not None else ""
                ms = max(0, entry.wall_ms - began)
                JobLine.of(STAGES[mark], entry.identity, self._node, ms, detail).write()
