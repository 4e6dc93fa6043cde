"""The node agent in production: the same turns and the same procedure, with a thread for each attempt."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue

from node_agent.agent.agent import NodeAgent
from node_agent.agent.outputs import Follower
from node_agent.attempt.ports import JournalPort, LinkDown, RunnerPort
from node_agent.attempt.procedure import Finished, Procedure, Turn, Wait
from node_agent.shim.spool import RunnerError
from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId

IDLE_S = 5.0
Work = Callable[[], None]


class Crew:
    """A pool with as many threads as tasks. Starting a thread costs more than most of the tasks."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Work]] = []
        """The queues of waiting threads; the thread that began to wait last comes first."""

    def do(self, work: Work) -> None:
        """Begin the work now, in another thread; the work must raise nothing."""
        with self._lock:
            waiting = self._idle.pop() if self._idle else None
        if waiting is None:
            threading.Thread(target=self._go, args=(work,), name="crew", daemon=True).start()
        else:
            waiting.put(work)

    def _go(self, work: Work) -> None:
        queue: SimpleQueue[Work] = SimpleQueue()
        while True:
            work()
            with self._lock:
                self._idle.append(queue)
            try:
                work = queue.get(timeout=self._idle_s)
            except Empty:
                if self._left(queue):
                    return
                work = queue.get()  # it was asked in the moment in which it would have ended

    def _left(self, queue: SimpleQueue[Work]) -> bool:
        """Whether a waiting thread may end: no work was given to it, and none will be."""
        with self._lock:
            if queue not in self._idle:
                return False
            self._idle.remove(queue)
            return True


PUBLISHERS = 4
"""The most attempts that are delivered at once; those that hold slots have a thread each."""
LEAVE_S = 3.0
CROWDED_MS = 20
"""The milliseconds before attempts that found all publishers busy are looked at again."""
GATHER_S, PATIENCE_S = 0.004, 0.05
"""The seconds for which events are gathered, to go out together: the second where no slot depends on them."""
_log = logging.getLogger("pancode.node")


class ThreadDrive:
    """Advances each attempt in a thread of its own while there is something to do; idle ones have none."""

    def __init__(
        self, procedure: Procedure, journal: JournalPort, runner: RunnerPort, clock: Clock, idle_ms: int
    ) -> None:
        self._procedure, self._journal, self._runner, self._clock = procedure, journal, runner, clock
        self._idle_ms = idle_ms
        self.moved: Callable[[AttemptId, Turn], None] = lambda identity, turn: None
        self.murmured: Callable[[bool], None] = lambda soon: None
        """Called when events are to be sent; `soon`: somebody waits for them, for a slot or in an interactive
        run."""
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
            if self._holds_slot(identity) and not self._leaving.is_set():
                self._begin(identity)  # work is not kept waiting for the rest of the turn

    def run(self) -> int:
        """Start a thread for each due attempt without one, with a limit for those that only publish."""
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
        """Let every thread reach a point between two steps, but wait only a moment for them."""
        self._leaving.set()
        with self._rest:
            self._rest.wait_for(lambda: not self._busy, LEAVE_S)

    def _begin(self, identity: AttemptId) -> None:
        self._busy.add(identity)
        self._crew.do(partial(self._carry, identity))

    def _carry(self, identity: AttemptId) -> None:
        due: int | None = self._clock.mono_ms() + self._idle_ms
        try:
            due = self._go_on(identity)
        except Exception:  # a fault here must cost this attempt a pause, never the node
            _log.exception("%s: a fault of ours", identity)
        finally:
            with self._rest:
                self._busy.discard(identity)
                self._rest.notify_all()
                if due is None:
                    self._due.pop(identity, None)
                else:
                    self._due[identity] = 0 if identity in self._woken else due
                self._woken.discard(identity)

    def _go_on(self, identity: AttemptId) -> int | None:
        """Advance the attempt until its procedure waits for others; return when to look next; None: never."""
        while not self._leaving.is_set():
            turn = self._procedure.advance(identity)
            self.moved(identity, turn)
            self.murmured(not self._holds_slot(identity) or self._is_interactive(identity))
            if isinstance(turn, Finished):
                return None
            if isinstance(turn, Wait):
                if turn.folder is None:
                    return self._clock.mono_ms() + turn.ms
                self._attend(turn)
        return self._clock.mono_ms() + self._idle_ms

    def _holds_slot(self, identity: AttemptId) -> bool:
        entry = self._journal.get(identity)
        return entry is not None and entry.holds_slot

    def _is_interactive(self, identity: AttemptId) -> bool:
        return self._journal.job(identity).turns is not None

    def _attend(self, turn: Wait) -> None:
        """Sleep until the phase is over or it is time to look."""
        try:
            if turn.folder is not None:
                self._runner.wait(turn.folder, turn.ms / 1000)
        except RunnerError:
            self._leaving.wait(turn.ms / 1000)


class Worker:
    """Runs a node agent until it is told to leave. Attempts continue without the worker: their shims hold
    them."""

    def __init__(
        self,
        agent: NodeAgent,
        drive: ThreadDrive,
        follower: Follower,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        """`heartbeat`: called after each turn."""
        self._agent, self._drive, self._follower, self._heartbeat = agent, drive, follower, heartbeat
        self._leaving = threading.Event()
        self._murmur, self._soon = threading.Event(), threading.Event()
        drive.moved, drive.murmured = agent.moved, self._mutter
        agent.say = lambda: self._mutter(False)

    def leave(self) -> None:
        """End soon; called by a signal handler or another thread."""
        self._leaving.set()

    def run(self) -> None:
        """Take turn after turn; only `leave` ends this."""
        following = threading.Thread(target=self._follow, name="follow", daemon=True)
        for thread in (following, threading.Thread(target=self._speak, name="speak", daemon=True)):
            thread.start()
        while not self._leaving.is_set():
            self._turn()
            self._heartbeat()
        self._drive.leave()
        self._soon.set()
        self._murmur.set()
        following.join(LEAVE_S)

    def _turn(self) -> None:
        intervals, began = self._agent.world.intervals, self._agent.world.clock.mono_ms()
        try:
            wait = self._agent.tick()
            self._agent.world.uplink.wait_for_hint(max(1, wait))
        except Exception:  # whatever Redis or the disk think of: the node must stay
            _log.exception("a fault in the node agent's turn")
            self._leaving.wait(intervals.retry_ms / 1000)
        if not self._agent.linked and self._agent.world.clock.mono_ms() - began < intervals.poll_ms:
            self._leaving.wait(min(intervals.poll_ms, intervals.retry_ms) / 1000)

    def _mutter(self, soon: bool) -> None:
        """Wakes the sending thread: neither jobs nor work wait for it."""
        if self._agent.outbox.is_due:
            if soon:
                self._soon.set()
            self._murmur.set()

    def _speak(self) -> None:
        """Send events: those of steps in quick succession go out together, while the steps continue."""
        while self._murmur.wait():
            self._soon.wait(PATIENCE_S)
            if self._leaving.wait(GATHER_S):
                return
            self._soon.clear()
            self._murmur.clear()
            try:
                self._agent.outbox.flush()
            except LinkDown:
                continue  # they stay due: the next turn sends them
            except Exception:
                _log.exception("a fault while sending events")

    def _follow(self) -> None:
        intervals, clock = self._agent.world.intervals, self._agent.world.clock
        due = clock.mono_ms() + intervals.follow_ms
        while not self._leaving.wait(
            (intervals.interactive_follow_ms if self._follower.has_interactive_run else intervals.follow_ms)
            / 1000
        ):
            try:
                self._follower.turn(interactive_runs=clock.mono_ms() < due)
                due = due if clock.mono_ms() < due else clock.mono_ms() + intervals.follow_ms
            except Exception:  # only the live view depends on it
                _log.exception("a fault while following outputs")
        self._follower.leave()
