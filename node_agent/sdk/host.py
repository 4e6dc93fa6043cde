"""Talks with an SDK's driver: sends it messages, runs its model's tool calls, and restarts it after an exit.
Reading a line takes time linear in the line's length, and no wait outlasts the run or a user's cancel."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from node_agent.chat.client import HEARTBEAT_S
from node_agent.chat.limits import ChatLimits, Over
from node_agent.chat.messages import Call
from node_agent.native.equipment import WorkerHeartbeat
from node_agent.native.loop import CANCELLED
from node_agent.native.tools.offer import Deeds
from node_agent.native.tools.shell import CHILDREN, MOST_S
from node_agent.native.voice import Voice
from node_agent.runtimes.lines import count_of, text_of
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.identity import ApprovalChannel

PIECE = 1 << 16
MOST_LINE = 64 << 20
"""The most bytes in one line from the driver; no tool call is larger."""
STARTS_MS, CANCELS_MS, KEEPS_MS = 120_000, 800, 10_000
"""A start takes half a minute on a busy node. A turn that has not ended this soon after its cancel is ended
with its driver. At the end an SDK's program may still write its session."""


class Pipe:
    """The pipe to one driver. `look`: called before each wait; returns the most seconds to wait; an exception
    of `look` ends the wait."""

    def __init__(self, process: subprocess.Popen[bytes], look: Callable[[], float]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out, self._look = process.stdin.fileno(), process.stdout.fileno(), look
        os.set_blocking(self._in, False)  # the driver may not read for a long time
        self._whole: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._is_cut = False

    def send(self, line: bytes) -> None:
        """Send a line. BrokenPipeError if the driver has exited or got an earlier line only in part."""
        if self._is_cut:
            raise BrokenPipeError
        left, self._is_cut = memoryview(line + b"\n"), True
        while left:
            self._wait([], [self._in])
            left = left[os.write(self._in, left[:PIECE]) :]
        self._is_cut = False

    def line(self) -> bytes | None:
        """Return the next line without line break; None if the driver exited, dropping an unfinished line."""
        while not self._whole:
            self._wait([self._out], [])
            if not (data := os.read(self._out, PIECE)):
                return None
            *whole, rest = data.split(b"\n")
            if whole:
                self._whole += (b"".join((*self._parts, whole[0])), *whole[1:])
                self._parts, self._size = [], 0
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > MOST_LINE:
                words = f"the SDK's driver sent a line of more than {MOST_LINE} bytes"
                raise Over(FailureKind.RUNTIME_UNREADABLE, words)
        return self._whole.popleft()

    def _wait(self, reads: list[int], writes: list[int]) -> None:
        while not any(select.select(reads, writes, [], self._look())):
            pass


LAST_WAIT_S = 5
SPARE_S = 200
MOST_PATIENCE_MS = 2_147_483_000
"""The longest timeout: a longer JavaScript timer (over 2**31 - 1 ms) fires immediately."""


def patience_ms(channel: ApprovalChannel | None) -> int:
    """Return how long an SDK's program must wait for a tool call: user approval, then the longest command."""
    asking = 0 if channel is None else channel.wait_ms
    return min(asking + (MOST_S + SPARE_S) * 1000, MOST_PATIENCE_MS)


@dataclass
class Host:
    """Runs the turns of one driver, as `TakesTurns`. `start`: starts the driver with pipes; `first`: the
    spec, sent first; `model`: the model's name for the run's record."""

    start: Callable[[], subprocess.Popen[bytes]]
    first: dict[str, Any]
    deeds: Deeds
    voice: Voice
    clock: Clock
    limits: ChatLimits
    model: str
    heartbeat: WorkerHeartbeat
    turns: int = 0
    words: Callable[[], str] = str
    """Returns the new messages of users, which are sent with a tool's answer."""
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("input", "cached", "output"), 0))
    remembers: bool = False

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Pipe | None = None
        self._until_ms: int | None = None
        self._kept_alive_ms = 0
        self._at_work = self._ends = False

    # ---- the driver
    def begin(self) -> None:
        """Start the driver, and continue the run's session if there is one. Raises Over."""
        self._process = self.start()
        self._pipe = Pipe(self._process, self._look)
        self._until_ms = min(self.clock.mono_ms() + STARTS_MS, self.limits.until_ms)
        try:
            self._send(self.first)
            while (event := self._read_event()).get("kind") != "ready":
                if event.get("kind") == "failed":
                    raise _make_failure(event)
                self._take(event)
            self.remembers = event.get("remembers") is True
        except BaseException:
            self.end()
            raise
        finally:
            self._until_ms = None

    def end(self, gently: bool = False) -> None:
        """End the driver and the program it started. `gently`: let the program store its session first."""
        if self._process is None or self._pipe is None:
            return
        if gently:
            with suppress(Over), self._limit_time(KEEPS_MS):
                self._send({"words": None})
                while self._pipe.line() is not None:
                    pass
        CHILDREN.over(self._process)
        self._process = self._pipe = None

    @contextmanager
    def _limit_time(self, most_ms: int) -> Iterator[None]:
        """Raise Over when `most_ms` have passed; in this context no heartbeats are sent."""
        self._until_ms, self._ends = self.clock.mono_ms() + most_ms, True
        try:
            yield
        finally:
            self._until_ms, self._ends = None, False

    def _look(self) -> float:
        """Return the seconds that the pipe may wait. Over at the time limit; TurnOver from the heartbeat."""
        now, heartbeats = self.clock.mono_ms(), self.heartbeat.on is not None and not self._ends
        if heartbeats and now - self._kept_alive_ms >= HEARTBEAT_S * 1000:
            self._kept_alive_ms = now
            self.heartbeat()
        left = (self.limits.until_ms if self._until_ms is None else self._until_ms) - now
        if left <= 0:
            raise Over(FailureKind.WALL_LIMIT, "the time limit was reached")
        return min(left / 1000, self.heartbeat.pause_s) if heartbeats else left / 1000

    # ---- a turn
    def hear(self, words: Callable[[], str]) -> None:
        """Take users' new messages from `words`, and send them with each tool's answer."""
        self.words = words

    def close(self, why: str) -> None:
        """Do nothing: the SDK stores its conversation itself."""

    def run(self, task: str) -> str:
        """Run a turn and return the final answer. Raises Over."""
        if self._process is not None and self._process.poll() is not None:
            self.end()  # the driver exited after the previous turn
        if self._process is None:
            self.begin()
        self._at_work = True
        try:
            self._send({"words": task})
            while (event := self._read_event()).get("kind") not in ("done", "failed"):
                self._take(event)
        except BaseException:
            if self._at_work:
                self._cancel()
            raise
        self._is_over(event)
        if event["kind"] == "failed":
            raise _make_failure(event)
        return text_of(event.get("result"))

    def _cancel(self) -> None:
        """Cancel the turn; if that fails, end the driver: the next message restarts it with its session."""
        with suppress(Over), self._limit_time(CANCELS_MS):
            self._send({"cancel": CANCELLED})
            while self._at_work:
                self._take_late(self._read_event())
        if self._at_work:
            self._at_work = False
            self.end()

    def _take_late(self, event: dict[str, Any]) -> None:
        """Answer the events of a cancelled turn without running its tool calls."""
        match event.get("kind"):
            case "done" | "failed":
                self._is_over(event)
            case "asks" | "call" | "stray":
                self._answer(event, CANCELLED)
            case "used" | "session":
                self._take(event)

    def _is_over(self, event: dict[str, Any]) -> None:
        """Record the end of the turn; if the event says that the driver leaves, end the driver too."""
        self._at_work = False
        if event.get("leaves") is True:
            self.end()

    def _read_event(self) -> dict[str, Any]:
        """Return the next event. Raises Over if the driver has exited."""
        assert self._pipe is not None
        if (line := self._pipe.line()) is not None:
            return _parse_event(line)
        words = f"its driver ended unexpectedly, {self._how_it_ended()}"
        self._at_work = False
        self.end()
        raise Over(FailureKind.AGENT_FAILED, words)

    def _take(self, event: dict[str, Any]) -> None:
        match event.get("kind"):
            case "session":
                fields = {name: text_of(event.get(name)) for name in ("session", "version")}
                self.first["resume"] = fields["session"]
                self.voice.tell("session", model=self.model, **fields)
            case "said":
                self.voice.say(text_of(event.get("text")))
            case "asks":
                now, written = self.clock.mono_ms(), self.voice.written
                self.limits.check(now, self.turns, self.deeds.calls, self.used, written)
                self._answer(event, "")
            case "call":
                done = self.deeds.do(_call(event)).text
                self._answer(event, "\n\n".join(filter(None, (done, self.words()))))
            case "stray":
                self.deeds.stray(_call(event))
                self._answer(event, "")
            case "used":
                self._count(event)

    def _count(self, event: dict[str, Any]) -> None:
        """Count the tokens of one model answer."""
        self.turns += count_of(event.get("turns")) or 1
        for name in self.used:
            self.used[name] += count_of(event.get(name))
        counted = count_of(event.get("input")) + count_of(event.get("cached")) > 0
        self.voice.tell("usage", **self.used, turns=self.turns, told=counted, model=self.model)

    def _answer(self, event: dict[str, Any], text: str) -> None:
        self._send({"number": count_of(event.get("number")), "text": text})

    def _send(self, what: dict[str, Any]) -> None:
        """Send a message; if the driver has exited, the next read reports that."""
        assert self._pipe is not None
        try:
            self._pipe.send(json.dumps(what).encode())
        except BrokenPipeError:
            self.voice.flush()

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            return f"exit {self._process.wait(LAST_WAIT_S)}; see its output in the run's log"
        except subprocess.TimeoutExpired:
            return "and has not exited yet"


def _parse_event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as exc:
        raise Over(
            FailureKind.RUNTIME_UNREADABLE, "the SDK's driver sent a message that is not an event"
        ) from exc
    return event if isinstance(event, dict) else {}


def _call(event: dict[str, Any]) -> Call:
    return Call(text_of(event.get("id")), text_of(event.get("name")), text_of(event.get("arguments")))


def _make_failure(event: dict[str, Any]) -> Over:
    status, why = count_of(event.get("status")), text_of(event.get("why"))[:500]
    if status:
        return Over(by_status(status), f"the model server reported: {why} (HTTP {status})")
    return Over(FailureKind(text_of(event.get("failure"))), why)
