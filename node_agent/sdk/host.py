"""The pipes to an SDK's driver: lines cost no more than their length, and no wait outlasts the run."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from node_agent.chat.limits import ChatLimits, Over
from node_agent.chat.messages import Call
from node_agent.native.tools.offer import Deeds
from node_agent.native.tools.shell import MOST_S
from node_agent.native.voice import Voice
from node_agent.runtimes.lines import count_of, text_of
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind, by_status
from node_agent.wire.identity import CallDesk

PIECE = 1 << 16
MOST_LINE = 64 << 20
"""The longest line from the driver; a tool call is no larger."""


class Pipe:
    """The pipe to one driver. Each wait ends with Over when the run's time does."""

    def __init__(self, process: subprocess.Popen[bytes], clock: Clock, until_ms: int) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        self._clock, self._until_ms = clock, until_ms
        os.set_blocking(self._in, False)  # a driver may not listen for as long as it likes

    def send(self, line: bytes) -> None:
        """Raises BrokenPipeError for a driver that is gone."""
        left = memoryview(line + b"\n")
        while left:
            self._wait([], [self._in])
            left = left[os.write(self._in, left[:PIECE]) :]

    def lines(self) -> Iterator[bytes]:
        """The lines without their ends, until the driver is gone; an unfinished line does not count."""
        parts: list[bytes] = []
        size = 0
        while data := self._read():
            *whole, rest = data.split(b"\n")
            if whole:
                yield b"".join((*parts, whole[0]))
                yield from whole[1:]
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > MOST_LINE:
                words = f"its driver told more than {MOST_LINE} bytes at once"
                raise Over(FailureKind.RUNTIME_UNREADABLE, words)

    def _read(self) -> bytes:
        self._wait([self._out], [])
        return os.read(self._out, PIECE)

    def _wait(self, reads: list[int], writes: list[int]) -> None:
        left = self._until_ms - self._clock.mono_ms()
        if left <= 0 or not any(select.select(reads, writes, [], left / 1000)):
            raise Over(FailureKind.WALL_LIMIT, "the time limit was reached")


LAST_WAIT_S = 5
SPARE_S = 200
MOST_PATIENCE_MS = 2_147_483_000
"""A timer of JavaScript that is longer than 2**31 - 1 ms ends at once."""


def patience_ms(desk: CallDesk | None) -> int:
    """How long an SDK's program must wait for a call: the person's answer, then the longest command."""
    asking = 0 if desk is None else desk.wait_ms
    return min(asking + (MOST_S + SPARE_S) * 1000, MOST_PATIENCE_MS)


@dataclass
class Host:
    """One run. `process`: the driver, with pipes; `model`: the name that the run is told of."""

    process: subprocess.Popen[bytes]
    deeds: Deeds
    voice: Voice
    clock: Clock
    limits: ChatLimits
    model: str
    turns: int = 0
    words: Callable[[], str] = str
    """Return the words of a person since the last look. They come with the answer of a tool."""
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("input", "cached", "output"), 0))

    def __post_init__(self) -> None:
        self._pipe = Pipe(self.process, self.clock, self.limits.until_ms)

    def run(self, first: dict[str, Any]) -> str:
        """The final answer. Raises Over."""
        self._send(first)
        for event in map(_event, self._pipe.lines()):
            match event.get("kind"):
                case "done":
                    return text_of(event.get("result"))
                case "failed":
                    raise _failure(event)
                case _:
                    self._take(event)
        raise Over(FailureKind.AGENT_FAILED, f"its driver ended by itself, {self._how_it_ended()}")

    def _take(self, event: dict[str, Any]) -> None:
        match event.get("kind"):
            case "session":
                fields = {name: text_of(event.get(name)) for name in ("session", "version")}
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
        """Count the tokens of one answer."""
        self.turns += count_of(event.get("turns")) or 1
        for name in self.used:
            self.used[name] += count_of(event.get(name))
        counted = count_of(event.get("input")) + count_of(event.get("cached")) > 0
        self.voice.tell("usage", **self.used, turns=self.turns, told=counted, model=self.model)

    def _answer(self, event: dict[str, Any], text: str) -> None:
        self._send({"number": count_of(event.get("number")), "text": text})

    def _send(self, what: dict[str, Any]) -> None:
        """A driver that is gone is found so when it is listened to."""
        try:
            self._pipe.send(json.dumps(what).encode())
        except BrokenPipeError:
            self.voice.flush()

    def _how_it_ended(self) -> str:
        try:
            return f"exit {self.process.wait(LAST_WAIT_S)}; its own words are in the run's log"
        except subprocess.TimeoutExpired:
            return "and has not gone yet"


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as exc:
        raise Over(FailureKind.RUNTIME_UNREADABLE, "its driver sent a message that is not an event") from exc
    return event if isinstance(event, dict) else {}


def _call(event: dict[str, Any]) -> Call:
    return Call(*(text_of(event.get(name)) for name in ("id", "name", "arguments")))


def _failure(event: dict[str, Any]) -> Over:
    status, why = count_of(event.get("status")), text_of(event.get("why"))[:500]
    if status:
        return Over(by_status(status), f"the model server: {why} (HTTP {status})")
    return Over(FailureKind(text_of(event.get("failure"))), why)
