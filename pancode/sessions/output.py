"""Reads the output of a session for its faces: lines as events of a worker, and turns with their words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MOST_LINE = 16 << 20


class SessionState(StrEnum):
    """What a session does now, in the words of its faces."""

    WAITS_FOR_SLOT = "waits for a slot"
    STARTS = "starts"
    WORKS = "works"
    ASKS = "asks"
    """A question waits for a person's answer."""
    WAITS_FOR_YOU = "waits for you"
    """Its program is there, and has answered everything."""
    RESTS = "rests"
    """No program, no slot: the next words begin the next sitting."""
    TURN_LOST = "turn lost"
    """Its program ended in the middle of a turn: a person decides whether to say it again."""
    ENDED = "ended"
    """A person has ended it, or it is a run without turns."""


OVER = (SessionState.RESTS, SessionState.TURN_LOST, SessionState.ENDED)
"""Without a program."""
WAITING = (SessionState.WAITS_FOR_YOU, SessionState.ASKS, *OVER)
"""Nothing comes without more words of somebody."""
NO_TURN = "no_turn"
"""The coordinator's code for a session whose program has ended already."""
RESTS = {"slot": "a run needed its slot"}
"""Reasons of a rest in the words of a face, where its own word is not enough."""
LAST_MS = 4_000_000_000_000
"""A later time, in Unix milliseconds, is none: a stream may say anything."""
_TEXTS = ("id", "text", "stop", "why", "tool", "command", "path", "pattern", "diff")


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """A line of a worker. What it does not say, or says in another type, is empty, 0 or False."""

    kind: str = ""
    number: int = 0
    """Of the turn; of words that were heard: theirs."""
    words: int = 0
    """With which message the turn begins; 0: the task."""
    by: str = "somebody"
    at_ms: int = 0
    """In Unix time."""
    ok: bool = False
    id: str = ""
    text: str = ""
    stop: str = ""
    why: str = ""
    tool: str = ""
    command: str = ""
    path: str = ""
    pattern: str = ""
    diff: str = ""

    @property
    def about(self) -> str:
        """What a call of a tool is about."""
        return self.command or self.path or self.pattern


def speaks(runtime: str, line: bytes) -> bool:
    """Whether a line of that runtime's output may be one of our worker: its own, and in sittings those of
    others. Any program can print a line that looks so."""
    from pancode.agents.runtimes import OUR_OWN, RUNTIMES  # a face starts without the wire's models

    kind = RUNTIMES[runtime]
    return runtime == OUR_OWN or (kind.takes_turns and line.startswith(b'{"type": "'))


def said_by_program(line: bytes) -> WorkerEvent:
    """A line of any other program: text of its own, and nobody else's words."""
    return WorkerEvent("said", text=f"{line.decode('utf-8', 'replace')}\n")


@dataclass
class ReadTurn:
    """A turn as the output tells it."""

    run: str
    number: int
    words: set[int] = field(default_factory=set)
    """The numbers of its messages; 0: the task."""
    before: tuple[str, ...] = ()
    """The runs of the session that were read before this one."""
    stop: str = ""
    """Why it has ended; empty: it has not."""
    why: str = ""
    answer: str = ""
    """What its agent said after its last call."""
    files: set[str] = field(default_factory=set)
    commands: int = 0
    """What was done in it, where a face counts that: files that were changed, commands that ran."""

    def has(self, run: str, message: int) -> bool:
        """Whether the message is one of its words; one that came too late opens the next run."""
        return message in self.words if self.run == run else self.number == 1 and run in self.before


class WholeLines:
    """Bytes that come cut anywhere. `rest`: the beginning of a line whose end has not come.

    A line of more than `most` bytes is dropped as a whole.
    """

    def __init__(self, most: int = MOST_LINE) -> None:
        self._most, self.rest = most, bytearray()
        self.behind = 0
        """So many of the bytes that were fed last stand behind the line that was yielded last."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes, without their ends."""
        *ends, last = data.split(b"\n")
        self.behind = len(data)
        for end in ends:
            self.rest += end
            self.behind -= len(end) + 1
            if len(self.rest) <= self._most:
                yield bytes(self.rest)
            self.rest.clear()
        if len(self.rest) <= self._most:
            self.rest += last


OURS, OTHERS = "native", "acp:"
TAKING_TURNS = frozenset({OURS, "claude", "codex", "copilot", "gemini", "opencode", "qwen"})
"""Runtimes that take turns, as the node agent's own table has them, which no face needs to load."""


def is_of_our_worker(runtime: str, begins: bytes) -> bool:
    """Whether output of that runtime that begins so is in the form of our own worker: in a sitting others
    have it, too, those of an owner's choice only that. No other form has a space there."""
    takes = runtime in TAKING_TURNS and begins.startswith(b'{"type": "')
    return runtime == OURS or runtime.startswith(OTHERS) or takes


class TurnReader:
    """The output of a session's runs, one after the other. `turned` gets each turn that has ended."""

    def __init__(self, turned: Callable[[ReadTurn], object]) -> None:
        self._turned = turned
        self.run = self.attempt = ""
        self._before: list[str] = []
        self._lines = WholeLines()
        self.turn: ReadTurn | None = None
        """The turn at work."""

    def at(self, run: str, attempt: str) -> bool:
        """Read on in this attempt; whether it is another one than before."""
        if (run, attempt) == (self.run, self.attempt):
            return False
        if self.run not in ("", run):
            self._before.append(self.run)
        self.run, self.attempt, self.turn = run, attempt, None
        self._lines.rest.clear()
        return True

    def feed(self, data: bytes) -> Iterator[tuple[bytes, WorkerEvent]]:
        """The lines that end in these bytes, which are cut anywhere."""
        for line in self._lines.feed(data):
            event = event_of(line)
            self._listen(event)
            yield line, event

    def _listen(self, event: WorkerEvent) -> None:
        turn = self.turn
        if event.kind == "turn":
            self.turn = ReadTurn(self.run, event.number, {event.words}, tuple(self._before))
        if turn is None:
            return
        match event.kind:
            case "said":
                turn.answer += event.text
            case "called":
                turn.answer = ""
            case "heard":
                turn.words.add(event.number)
            case "turn_end":
                turn.stop, turn.why = event.stop or "none", event.why
                self.turn = None
                self._turned(turn)


def event_of(line: bytes) -> WorkerEvent:
    """The event in this line; of no kind where it holds none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return WorkerEvent()
    if not isinstance(found, dict):
        return WorkerEvent()
    texts = {name: _text(found.get(name)) for name in _TEXTS}
    by, at = _text(found.get("by")) or "somebody", _count(found.get("at"))
    number, words = _count(found.get("number")), _count(found.get("words"))
    at_ms, ok = at if at < LAST_MS else 0, found.get("ok") is True
    return WorkerEvent(_text(found.get("type")), number, words, by, at_ms, ok, **texts)


def _text(value: Any) -> str:
    """The value if it is a string; half a surrogate pair, which UTF-8 cannot have, becomes `?`."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _count(value: Any) -> int:
    """The value if it is a whole number above 0, else 0."""
    return value if type(value) is int and value > 0 else 0
