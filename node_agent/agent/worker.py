"""The node agent in production: the same pass and procedure, with a separate thread for each attempt."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue

from node_agent.agent.agent import NodeAgent
from node_agent.agent.outputs import Follower
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import LinkDown, RunnerPort
from node_agent.attempt.procedure import Finished, Procedure, Turn, Wait
from node_agent.runner.file_changes import GAP_MS, FileChanges
from node_agent.shim.spool import RunnerError
from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId

IDLE_S = 5.0
Work = Callable[[], None]


class Crew:
    """A pool with as many threads as tasks; reusing a thread is cheaper than starting one for each task."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Work]] = []
        """The queues of waiting threads; the one that has waited least is used first."""

    def do(self, work: Work) -> None:
        """Run the work now in another thread. The work must not raise."""
        with self._lock:
            waiting = self._idle.pop() if self._idle else None
        if waiting is None:
            threading.Thread(target=self._run_thread, args=(work,), name="crew", daemon=True).start()
        else:
            waiting.put(work)

    def _run_thread(self, work: Work) -> None:
        queue: SimpleQueue[Work] = SimpleQueue()
        while True:
            work()
            with self._lock:
                self._idle.append(queue)
            try:
                work = queue.get(timeout=self._idle_s)
            except Empty:
                if self._may_end(queue):
                    return
                work = queue.get()  # Work was assigned at the moment when the thread would have ended.

    def _may_end(self, queue: SimpleQueue[Work]) -> bool:
        """Whether a waiting thread may end: it has no work and was removed from the list of idle threads."""
        with self._lock:
            if queue not in self._idle:
                return False
            self._idle.remove(queue)
            return True


PUBLISHERS = 4
"""Maximum of attempts whose results are delivered at once; those that use slots have a thread each."""
LEAVE_S = 3.0
CROWDED_MS = 20
"""Milliseconds until attempts that found all publishers busy are tried again."""
GATHER_S, PATIENCE_S = 0.004, 0.05
"""Seconds to collect events into one message; the second value applies if no slot waits for them."""
_log = logging.getLogger("pancode.node")


class ThreadDrive:
    """Advances each attempt in its own thread while there is work for it; idle attempts have no thread."""

    def __init__(
        self, procedure: Procedure, journal: Journal, runner: RunnerPort, clock: Clock, idle_ms: int
    ) -> None:
        self._procedure, self._journal, self._runner, self._clock = procedure, journal, runner, clock
        self._idle_ms = idle_ms
        self.moved: Callable[[AttemptId, Turn], None] = lambda identity, turn: None
        self.murmured: Callable[[bool], None] = lambda soon: None
        """Called when events are to be sent. `soon`: a slot or an interactive run waits for this."""
        self.grew: Callable[[], None] = lambda: None
        """Called when an interactive run may have written text."""
        self._lock = threading.Lock()
        self._due: dict[AttemptId, int] = {}
        self._busy: set[AttemptId] = set()
        self._rest = threading.Condition(self._lock)
        self._crew = Crew()
        self._woken: set[AttemptId] = set()
        self._leaving = threading.Event()

    def wake(self, identity: AttemptId) -> None:
        with self._lock:
            if identity in self._busy:
                self._woken.add(identity)
                return
            self._due[identity] = 0
            entry = self._journal.get(identity)
            is_cleaned = entry is not None and entry.cleaned  # `run` only sees what is not
            if (self._holds_slot(identity) or is_cleaned) and not self._leaving.is_set():
                self._begin(identity)  # The work starts now, not at the end of the pass.

    def run(self) -> int:
        """Start a thread for each due attempt without one; limit those of attempts that only publish."""
        now = self._clock.mono_ms()
        nearest = now + self._idle_ms
        with self._lock:
            delivering = 0
            for entry in self._journal.live():
                identity, holds = entry.identity, entry.holds_slot
                delivering += identity in self._busy and not holds
                if identity in self._busy or self._leaving.is_set() or entry.is_held:
                    continue
                due = self._due.get(identity, 0)
                if due <= now and (holds or delivering < PUBLISHERS):
                    self._begin(identity)
                    delivering += not holds
                else:
                    nearest = min(nearest, due if due > now else now + CROWDED_MS)
        return nearest - now

    def leave(self) -> None:
        """Let every thread finish its current step, waiting at most LEAVE_S in total."""
        self._leaving.set()
        with self._rest:
            self._rest.wait_for(lambda: not self._busy, LEAVE_S)

    def _begin(self, identity: AttemptId) -> None:
        self._busy.add(identity)
        self._crew.do(partial(self._carry_attempt, identity))

    def _carry_attempt(self, identity: AttemptId) -> None:
        due: int | None = self._clock.mono_ms() + self._idle_ms
        try:
            due = self._advance_attempt(identity)
        except Exception:  # An internal error here must only delay this attempt, and never stop the node.
            _log.exception("%s: internal error", identity)
        finally:
            with self._rest:
                self._busy.discard(identity)
                self._rest.notify_all()
                if due is None:
                    self._due.pop(identity, None)
                else:
                    self._due[identity] = 0 if identity in self._woken else due
                self._woken.discard(identity)

    def _advance_attempt(self, identity: AttemptId) -> int | None:
        """Advance the attempt until it must wait; return when to continue, or None when it has finished."""
        with FileChanges(self._clock) as changes:
            while not self._leaving.is_set():
                turn = self._procedure.advance(identity)
                self.moved(identity, turn)
                is_interactive = self._journal.job(identity).turns is not None
                self.murmured(is_interactive or not self._holds_slot(identity))
                if isinstance(turn, Finished):
                    return None
                if isinstance(turn, Wait):
                    if turn.folder is None:
                        return self._clock.mono_ms() + turn.ms
                    self._wait_until_due(turn, changes)
        return self._clock.mono_ms() + self._idle_ms

    def _holds_slot(self, identity: AttemptId) -> bool:
        entry = self._journal.get(identity)
        return entry is not None and entry.holds_slot

    def _wait_until_due(self, turn: Wait, changes: FileChanges) -> None:
        """Sleep until the attempt's phase ends, one of `turn.wakes` changes, or the wait is over."""
        assert turn.folder is not None
        seconds = turn.ms / 1000
        if turn.wakes and changes.fd is None:  # not watched yet, so look again soon
            seconds = min(seconds, GAP_MS / 1000)
        try:
            self._runner.wait(turn.folder, seconds, changes.fd if turn.wakes else None)
        except RunnerError:
            self._leaving.wait(seconds)
        if turn.wakes:
            self.grew()
            changes.take(turn.wakes)
            self.grew()  # again, as `take` sleeps where changes follow each other quickly


class Worker:
    """Runs a node agent until `leave` is called. After that, attempts continue under their shims."""

    def __init__(
        self,
        agent: NodeAgent,
        drive: ThreadDrive,
        follower: Follower,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the loop. `heartbeat`: called after each pass."""
        self._agent, self._drive, self._follower, self._heartbeat = agent, drive, follower, heartbeat
        self._leaving = threading.Event()
        self._murmur, self._soon, self._grown = threading.Event(), threading.Event(), threading.Event()
        drive.grew, drive.moved, drive.murmured = self._grown.set, agent.moved, self._wake_sender
        agent.say = lambda: self._wake_sender(False)

    def leave(self) -> None:
        """Stop the loop soon; a signal handler or another thread calls this."""
        self._leaving.set()

    def run(self) -> None:
        """Run one pass after another until `leave` is called."""
        following = threading.Thread(target=self._follow, name="follow", daemon=True)
        for thread in (following, threading.Thread(target=self._send_events, name="speak", daemon=True)):
            thread.start()
        while not self._leaving.is_set():
            self._turn()
            self._heartbeat()
        self._drive.leave()
        self._soon.set()
        self._murmur.set()
        self._grown.set()
        following.join(LEAVE_S)

    def _turn(self) -> None:
        intervals, began = self._agent.world.intervals, self._agent.world.clock.mono_ms()
        try:
            world = self._agent.world
            left = self._agent.tick()
            # In pieces, since neither `leave` nor new facts about the node end a wait for a hint.
            while not world.uplink.wait_for_hint(max(1, min(left, intervals.poll_ms))):
                left -= intervals.poll_ms
                if left <= 0 or self._leaving.is_set() or world.facts.news():
                    break
        except Exception:  # An error of Redis or of the disk must not stop the node agent.
            _log.exception("internal error in the node agent's pass")
            self._leaving.wait(intervals.retry_ms / 1000)
        if not self._agent.linked and self._agent.world.clock.mono_ms() - began < intervals.poll_ms:
            self._leaving.wait(min(intervals.poll_ms, intervals.retry_ms) / 1000)

    def _wake_sender(self, soon: bool) -> None:
        """Wake the thread that sends events, so that neither jobs nor other work wait for the sending."""
        if self._agent.outbox.is_due:
            if soon:
                self._soon.set()
            self._murmur.set()

    def _send_events(self) -> None:
        """Send events; while steps follow each other quickly, their events are collected into one message."""
        while self._murmur.wait():
            self._soon.wait(PATIENCE_S)
            if self._leaving.wait(GATHER_S):
                return
            self._soon.clear()
            self._murmur.clear()
            try:
                self._agent.outbox.flush()
            except LinkDown:
                continue  # The events stay due, so the next pass sends them.
            except Exception:
                _log.exception("internal error while sending events")

    def _follow(self) -> None:
        """Send the outputs at each interval, and those of interactive runs also when they grow."""
        intervals, clock = self._agent.world.intervals, self._agent.world.clock
        due = clock.mono_ms() + intervals.follow_ms
        while not self._leaving.is_set():
            self._grown.wait(max(0, due - clock.mono_ms()) / 1000)
            self._grown.clear()
            is_due = clock.mono_ms() >= due
            due = clock.mono_ms() + intervals.follow_ms if is_due else due
            try:
                self._follower.turn(interactive_runs=not is_due)
            except Exception:  # Only the live view depends on this.
                _log.exception("internal error while following outputs")
        self._follower.leave()
