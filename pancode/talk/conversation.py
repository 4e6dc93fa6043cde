"""The one model of a conversation: output of a session's runs, folded into turns, words, calls and notes."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pancode.core.names import FLEET
from pancode.talk.stream import BEGINS, MOST_LINE, Reading, WholeLines, WorkerEvent, reading_of

MOST_KEPT = 200
"""So many calls are known to be at work at once, and so many turns that have ended."""
RESTS = {"slot": "a run needed its slot"}
"""Reasons of a rest in the words of a face, where its own word is not enough."""
_EDITS = ("write", "edit")


@dataclass(slots=True, eq=False)
class Turn:
    """A turn of the agent. It is a part of the conversation when it has ended."""

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
    at_ms: int = 0
    """When it ended, in Unix time; 0: not known."""
    files: set[str] = field(default_factory=set)
    commands: int = 0
    """What was done in it: files that were changed, commands that ran."""

    def has(self, run: str, message: int) -> bool:
        """Whether the message is one of its words; one that came too late opens the next run."""
        return message in self.words if self.run == run else self.number == 1 and run in self.before

    @property
    def ending(self) -> str:
        """How it ended, in words; empty where it ended as it should."""
        why = f": {self.why}" if self.why else ""
        return f"turn {self.number} ended: {self.stop}{why}" if self.stop != "end_turn" else ""


@dataclass(frozen=True, slots=True)
class HeardWords:
    """What a person has said, or the fleet. `turn`: the one at work; `begins`: it begins with these."""

    run: str
    number: int
    by: str
    text: str
    at_ms: int
    turn: Turn | None
    begins: bool

    @property
    def is_fleets(self) -> bool:
        """Whether PanCode itself says it, and no person: nobody else can say words under this name."""
        return self.by == FLEET


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the agent's text, which is cut anywhere."""

    text: str


@dataclass(slots=True, eq=False)
class TalkCall:
    """A call of a tool: a part when it begins, and once more when it is over."""

    run: str
    number: int
    """Counted over the whole conversation; 0: nobody was told of its beginning."""
    id: str
    tool: str
    command: str = ""
    path: str = ""
    pattern: str = ""
    used: str = ""
    """What was used so far, in words, where that has grown since the call before."""
    state: str = "running"
    """running, ok, failed or denied."""
    why: str = ""
    diff: str = ""
    answer: str = ""
    """How its answer begins, where its program tells that."""
    beside: bool = False
    """Whether others were at work when it was over."""

    @property
    def about(self) -> str:
        return self.command or self.path or self.pattern


@dataclass(frozen=True, slots=True)
class TalkNote:
    """What the program says of itself. `kind`: started, noted, compacted, retrying, rests, unread, or over.

    Over: the output of an attempt ends here; the text is what it has used.
    """

    kind: str
    text: str
    why: str = ""
    """Of a rest, the program's own word for it."""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a program's plain text, which is cut anywhere."""

    text: str


Part = HeardWords | Said | TalkCall | Turn | TalkNote | Output


class SessionTalk:
    """Grows by the bytes of one run after the other. Only lines of a worker are turns and words of people.

    It is a fold: what it yields depends on nothing but the bytes, and not on how they are cut.
    """

    def __init__(self, most_line: int = MOST_LINE) -> None:
        self.run = self.attempt = ""
        self.turn: Turn | None = None
        """The turn at work."""
        self.ended: deque[Turn] = deque(maxlen=MOST_KEPT)
        """The newest turns that have ended."""
        self.open: list[TalkCall] = []
        """The calls at work, the newest last."""
        self._before: list[str] = []
        self._lines = WholeLines(most_line)
        self._calls = 0
        self._reading: Reading | None = None
        self._begin("", "")

    def _begin(self, run: str, attempt: str) -> None:
        if self.run not in ("", run):
            self._before.append(self.run)
        self.run, self.attempt, self.turn, self._head = run, attempt, None, b""
        self._plain = codecs.getincrementaldecoder("utf-8")("replace")
        self._used = self._used_told = ""
        self._came = self._told = False
        self._lines.rest.clear()
        self.open.clear()

    @property
    def behind(self) -> int:
        """So many of the bytes that were fed stand behind the part that was yielded last."""
        return len(self._head) if not self._came else self._lines.behind if self._reading is not None else 0

    def feed(self, run: str, attempt: str, data: bytes, runtime: str) -> Iterator[Part]:
        """What these bytes add. The caller takes all of it."""
        if (run, attempt) != (self.run, self.attempt):
            yield from self.end()
            self._begin(run, attempt)
        if not self._came:
            data, self._head = self._head + data, b""
            if len(data) < len(BEGINS) and BEGINS.startswith(data):  # it may be either form yet
                self._head = data
                return
            self._reading, self._came = reading_of(runtime, data), True
        if self._reading is None:
            if text := self._plain.decode(data):
                yield Output(text)
            return
        for line in self._lines.feed(data):
            for event in self._reading(line):
                self._told = self._told or event.kind == "session"
                for part in self._parts(event):
                    self._told = True
                    yield part

    def end(self) -> Iterator[TalkNote]:
        """The output of the run ends here: what it came to."""
        if self._reading is not None and self._came and not self._told:
            yield TalkNote("unread", "nothing in its output can be read as events")
        if self._came:
            yield TalkNote("over", self._used)
        self._used, self._came = "", False

    def _parts(self, event: WorkerEvent) -> Iterator[Part]:
        match event.kind:
            case "turn" | "heard":
                yield from self._words(event)
            case "said" if event.text:
                if self.turn is not None:
                    self.turn.answer += event.text
                yield Said(event.text)
            case "called":
                yield self._called(event)
            case "ran" | "denied":
                yield self._over(event)
            case "turn_end":
                yield self._turned(event)
            case "usage":
                self._used = event.text
            case "session" if event.text:
                yield TalkNote("started", f"started, model {event.text}")
            case "noted" | "compacted" if event.text:
                yield TalkNote(event.kind, event.text)
            case "retrying":
                status, why = f" {event.number}" * bool(event.number), f": {event.why}" * bool(event.why)
                yield TalkNote("retrying", f"its model failed{status}, it asks again{why}")
            case "rests":
                why = RESTS.get(event.why, event.why)
                yield TalkNote("rests", f"it rests: {why}; your next words go on with it", event.why)

    def _words(self, event: WorkerEvent) -> Iterator[HeardWords]:
        begins = event.kind == "turn"
        number = event.words if begins else event.number
        if begins:
            self.turn = Turn(self.run, event.number, before=tuple(self._before))
        if self.turn is not None:
            self.turn.words.add(number)
        if event.text or begins:
            yield HeardWords(self.run, number, event.by, event.text, event.at_ms, self.turn, begins)

    def _called(self, event: WorkerEvent) -> TalkCall:
        if self.turn is not None:
            self.turn.answer = ""
        self._calls += 1
        grown = self._used if self._used != self._used_told else ""
        self._used_told = self._used
        what = (event.id, event.tool, event.command, event.path, event.pattern)
        call = TalkCall(self.run, self._calls, *what, grown)
        if len(self.open) < MOST_KEPT:
            self.open.append(call)
        return call

    def _over(self, event: WorkerEvent) -> TalkCall:
        """The newest call of that id; one that nobody was told of has no number."""
        alone = TalkCall(self.run, 0, event.id, event.tool, event.command)
        call = next((one for one in reversed(self.open) if one.id == event.id), alone)
        call.beside = len(self.open) > 1
        if call is not alone:
            self.open.remove(call)
        denied = event.kind == "denied"
        call.state = "denied" if denied else "ok" if event.ok else "failed"
        call.why, call.diff, call.answer = event.why, event.diff, event.text
        if call.state == "ok" and call.number and self.turn is not None:
            self.turn.files |= {call.path} if call.tool in _EDITS else set()
            self.turn.commands += call.tool == "bash"
        return call

    def _turned(self, event: WorkerEvent) -> Turn:
        """One whose beginning was not read is known to nobody."""
        known, self.turn = self.turn, None
        turn = known or Turn(self.run, event.number)
        turn.stop, turn.why, turn.at_ms = event.stop or "none", event.why, event.at_ms
        if known is not None:
            self.ended.append(turn)
        return turn
