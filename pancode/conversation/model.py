"""The shared model of a conversation: the output of its runs as turns, messages, calls and notes."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pancode.conversation.stream import BEGINS, MOST_LINE, Reading, WholeLines, WorkerEvent, reading_of
from pancode.kernel.names import FLEET

MOST_KEPT = 200
"""The maximum number of running calls, and of ended turns, that are kept."""
RESTS = {"slot": "a waiting run needed its slot"}
"""Texts for the program's reasons of a suspension that need an explanation."""
_EDITS = ("write", "edit")
_CHECKOUT = re.compile(r"/[^\s'\"=]*/work/[^/\s'\"]+/tree/")
"""The folder of a run's checkout on its node. Paths are shown from the top of the checkout."""


@dataclass(slots=True, eq=False)
class Turn:
    """A turn of the agent. Once it has ended, it is yielded as a part of the conversation."""

    run: str
    number: int
    words: set[int] = field(default_factory=set)
    """The numbers of the turn's messages; 0: the task."""
    before: tuple[str, ...] = ()
    """The session's runs that were read before this one."""
    stop: str = ""
    """Why the turn has ended; empty while it runs."""
    why: str = ""
    answer: str = ""
    """What the agent said after its last call."""
    at_ms: int = 0
    """When the turn ended, in Unix milliseconds; 0: unknown."""
    files: set[str] = field(default_factory=set)
    commands: int = 0
    """Files changed in the turn, and commands that ran in it."""

    def has(self, run: str, message: int) -> bool:
        """Whether this turn has the message; one too late for its run is in the next run's first turn."""
        return message in self.words if self.run == run else self.number == 1 and run in self.before

    @property
    def ending(self) -> str:
        """Return text about how the turn ended; "" if it ended normally."""
        why = f": {self.why}" if self.why else ""
        return f"turn {self.number} ended: {self.stop}{why}" if self.stop != "end_turn" else ""


@dataclass(frozen=True, slots=True)
class HeardMessage:
    """A user's or the fleet's message. `turn`: the turn it reached; `begins`: whether it began that turn."""

    run: str
    number: int
    by: str
    text: str
    at_ms: int
    turn: Turn | None
    begins: bool

    @property
    def is_fleets(self) -> bool:
        """Whether PanCode itself wrote the message; no user can have PanCode's name."""
        return self.by == FLEET


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the agent's text, which may be cut anywhere."""

    text: str


@dataclass(frozen=True, slots=True)
class TalkThought:
    """What the model has thought. `spent_ms`: for how long, in milliseconds; 0: unknown."""

    text: str
    spent_ms: int = 0


@dataclass(slots=True, eq=False)
class TalkCall:
    """A tool call, which is yielded when it starts and again when it ends."""

    run: str
    number: int
    """The call's number in the whole conversation; 0: the start was not reported."""
    id: str
    tool: str
    command: str = ""
    path: str = ""
    pattern: str = ""
    used: str = ""
    """The usage so far, as text; empty if it has not grown since the previous call."""
    state: str = "running"
    """running, ok, failed or denied."""
    why: str = ""
    diff: str = ""
    answer: str = ""
    """The beginning of the call's output, if its program reports that."""
    beside: bool = False
    """Whether other calls were running when this one ended."""
    begun: str = ""
    """For a fleet tool: the run or workflow that the call has started."""
    exit: int | None = None
    """The exit status of an ended command; None: not reported, or it could not run."""
    from_ms: int = 0
    until_ms: int = 0
    """When the call started and ended, in Unix milliseconds; 0: unknown."""

    @property
    def result(self) -> str:
        """Return how an ended call ended: `exit 1`, `ended` for a command of unknown status, or its state."""
        if self.exit is not None:
            return f"exit {self.exit}"
        return "ended" if self.state == "ok" and self.command else self.state

    @property
    def about(self) -> str:
        about = _CHECKOUT.sub("", self.command or self.path) or self.pattern
        return f"{about} -> {self.begun}".strip() if self.begun else about


@dataclass(frozen=True, slots=True)
class Printed:
    """Lines that the command of a running call has printed since the part before. `call`: its number."""

    call: int
    text: str


@dataclass(frozen=True, slots=True)
class TalkNote:
    """A note of the program. `kind`: started, noted, asks, compacted, retrying, rests, unread, or over.

    `asks`: a question of the run says the same. `over`: the end of the attempt's output; the text is the
    attempt's usage."""

    kind: str
    text: str
    why: str = ""
    """For `rests`: the program's own name for the reason."""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a program's plain text, which may be cut anywhere."""

    text: str


Part = HeardMessage | Said | TalkThought | TalkCall | Printed | Turn | TalkNote | Output


class SessionTalk:
    """Parses the output of one run after another. Only the format of PanCode's own worker has turns and
    messages. The result depends only on the bytes, not on how they are split into pieces."""

    def __init__(self, most_line: int = MOST_LINE) -> None:
        self.run = self.attempt = ""
        self.turn: Turn | None = None
        """The current turn; None between turns."""
        self.ended: deque[Turn] = deque(maxlen=MOST_KEPT)
        """The newest ended turns."""
        self.open: list[TalkCall] = []
        """The running calls, newest last."""
        self._asked: dict[int, TalkCall] = {}
        """The running calls of fleet tools, by number."""
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
        self._asked.clear()

    @property
    def behind(self) -> int:
        """Return how many of the bytes fed so far come after the part that was yielded last."""
        return len(self._head) if not self._came else self._lines.behind if self._reading is not None else 0

    def feed(self, run: str, attempt: str, data: bytes, runtime: str) -> Iterator[Part]:
        """Yield the parts found in these bytes; the caller must consume all of them."""
        if (run, attempt) != (self.run, self.attempt):
            yield from self.end()
            self._begin(run, attempt)
        if not self._came:
            data, self._head = self._head + data, b""
            # The format is not decided yet: both are possible.
            if len(data) < len(BEGINS) and BEGINS.startswith(data):
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
                for part in self._yield_parts(event):
                    self._told = True
                    yield part

    def end(self) -> Iterator[TalkNote]:
        """End the run's output; yield its final notes."""
        if self._reading is not None and self._came and not self._told:
            yield TalkNote("unread", "the run's output contains no readable events")
        if self._came:
            yield TalkNote("over", self._used)
        self._used, self._came = "", False

    def _yield_parts(self, event: WorkerEvent) -> Iterator[Part]:
        match event.kind:
            case "turn" | "heard":
                yield from self._yield_messages(event)
            case "said" if event.text:
                if self.turn is not None:
                    self.turn.answer += event.text
                yield Said(event.text)
            case "thought" if event.text.strip():
                yield TalkThought(event.text, event.spent_ms)
            case "called" | "asks_fleet" | "fleet_over":
                yield from self._begin_call(event)
            case "ran" | "denied":
                yield self._end_call(event)
            case "printed":
                yield from (Printed(one.number, event.text) for one in self.open if one.id == event.id)
            case "turn_end":
                yield self._end_turn(event)
            case "usage":
                self._used = event.text
            case "session" | "noted" | "compacted" | "retrying" | "rests":
                yield from note_of(event)

    def _yield_messages(self, event: WorkerEvent) -> Iterator[HeardMessage]:
        begins = event.kind == "turn"
        number = event.words if begins else event.number
        if begins:
            self.turn = Turn(self.run, event.number, before=tuple(self._before))
        if self.turn is not None:
            self.turn.words.add(number)
        if event.text or begins:
            yield HeardMessage(self.run, number, event.by, event.text, event.at_ms, self.turn, begins)

    def _begin_call(self, event: WorkerEvent) -> Iterator[TalkCall]:
        """Yield the call that starts; a fleet event only adds to its call and yields nothing."""
        if event.kind != "called":
            return self.note_fleet_call(event)
        if self.turn is not None:
            self.turn.answer = ""
        self._calls += 1
        grown = self._used if self._used != self._used_told else ""
        self._used_told = self._used
        call = TalkCall(
            self.run, self._calls, event.id, event.tool, event.command, event.path, event.pattern, grown
        )
        call.from_ms = event.at_ms
        if len(self.open) < MOST_KEPT:
            self.open.append(call)
        yield call

    def note_fleet_call(self, event: WorkerEvent) -> None:
        """Record the subject of a fleet tool's call, or the run or workflow that the call has started."""
        if event.kind == "fleet_over":
            call = self._asked.pop(event.number, None)
            if call is not None:
                call.begun = event.text
            return
        known = self._asked.values()
        for call in self.open:
            if event.tool and call.tool.endswith(event.tool) and call not in known:
                call.pattern = event.text or call.pattern
                self._asked[event.number] = call
                return

    def _end_call(self, event: WorkerEvent) -> TalkCall:
        """End the newest call with the event's id and return it; a call with unknown start has number 0."""
        alone = TalkCall(self.run, 0, event.id, event.tool, event.command, event.path, event.pattern)
        call = next((one for one in reversed(self.open) if one.id == event.id), alone)
        call.beside = len(self.open) > 1
        if call is not alone:
            self.open.remove(call)
        denied = event.kind == "denied"
        works = event.ok and not event.exit  # a tool that answered is not a command that worked
        call.state = "denied" if denied else "ok" if works else "failed"
        call.exit, call.until_ms = event.exit, event.at_ms
        call.why, call.diff, call.answer = event.why, event.diff, event.text
        if call.state == "ok" and call.number and self.turn is not None:
            self.turn.files |= {call.path} if call.tool in _EDITS else set()
            self.turn.commands += call.tool == "bash"
        return call

    def _end_turn(self, event: WorkerEvent) -> Turn:
        """End the turn and return it; it is stored only if its beginning was read."""
        known, self.turn = self.turn, None
        turn = known or Turn(self.run, event.number)
        turn.stop, turn.why, turn.at_ms = event.stop or "none", event.why, event.at_ms
        if known is not None:
            self.ended.append(turn)
        return turn


def note_of(event: WorkerEvent) -> Iterator[TalkNote]:
    """Yield the note in an event, if it has a text."""
    match event.kind:
        case "retrying":
            status, why = f" {event.number}" * bool(event.number), f": {event.why}" * bool(event.why)
            yield TalkNote("retrying", f"the model call failed{status} and is repeated{why}")
        case "rests":
            why = RESTS.get(event.why, event.why)
            yield TalkNote("rests", f"suspended: {why}; your next message continues it", event.why)
        case "session" if event.text:
            yield TalkNote("started", f"started, model {event.text}")
        case "noted" | "compacted" if event.text:
            yield TalkNote("asks" if event.asks else event.kind, event.text)
