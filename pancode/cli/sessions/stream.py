"""Follows a session's stream from its last number, and reads it: whole lines of output, turns, answers."""

from __future__ import annotations

import base64
import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pancode.cli.face import Face
from pancode.cli.follow import resumed
from pancode.cli.terminal import safe
from pancode.cli.transcript import TranscriptWriter
from pancode.client import Client, path_of

OURS = "\u00bb "
"""The mark before words of people and of PanCode. A line of a model that begins with it is indented."""
LINE_CAP = 16 << 20
"""A longer line is dropped as a whole."""
_IMITATED = re.compile(rf"([\r\n]){OURS[0]}")
Happening = tuple[str, Any]
"""`session` and its shape, `log` and (run, attempt, bytes), `end`, `broken` and the error; others as put."""


class SessionFollower(threading.Thread):
    """Puts what a session's stream tells into a queue; cut off, it goes on at the number of the next byte."""

    def __init__(
        self, face: Face, client: Client, run: str, into: queue.Queue[Happening], since: str
    ) -> None:
        super().__init__(name="session", daemon=True)
        self._face, self._run, self._into = face, run, into
        self._client = Client(client.place, starts=False)
        self.since, self._attempt = since, ""

    def run(self) -> None:
        try:
            for event in resumed(self._face, self._run, self._begin):
                if event.kind == "log":
                    data = event.data
                    self.since, self._attempt = f"{data['run']}:{data['next']}", data["attempt"]
                    self._into.put(("log", (data["run"], data["attempt"], base64.b64decode(data["b64"]))))
                else:
                    self._into.put((event.kind, event.data))
        except Exception as error:  # who waits for the queue waits for this thread
            self._into.put(("broken", error))

    def _begin(self) -> Iterator[Any]:
        query = {"since": self.since or None, "attempt": self._attempt or None}
        return self._client.events("GET", path_of("sessions", self._run, "stream"), query=query)


@dataclass
class Turn:
    """A turn as the stream tells it. `answer`: what its agent said after its last call."""

    run: str
    number: int
    words: set[int] = field(default_factory=set)
    """The numbers of its messages; 0: the task."""
    answer: str = ""
    stop: str = ""
    """Why it has ended; empty: it has not."""
    why: str = ""
    after: tuple[str, ...] = ()
    """The runs of the session that were read before this turn's run."""

    def has(self, run: str, message: int) -> bool:
        """Whether the message is one of its words; one that came too late opens the next run."""
        return message in self.words if self.run == run else self.number == 1 and run in self.after


class SessionReader:
    """Reads the output of each run line by line. `show` gets what a person sees; `turned` each ended turn."""

    def __init__(self, show: Callable[[str], None], turned: Callable[[Turn], None]) -> None:
        self._show, self._turned = show, turned
        self._run = self._attempt = ""
        self._rest = bytearray()
        self._read: list[str] = []
        self._story: TranscriptWriter | None = None
        self._fresh = True
        self.turn: Turn | None = None
        """The turn at work that was read last."""
        self.mine: list[str] = []
        """Words that stand on this terminal already, as they were typed there."""

    def feed(self, run: str, attempt: str, data: bytes, runtime: str) -> None:
        """The next bytes; cut anywhere. Only lines of our own worker are turns and words of people."""
        if run != self._run:
            self.end()
            self._read += [self._run] if self._run else []
            self._story = None
        if (run, attempt) != (self._run, self._attempt):
            self._run, self._attempt, self.turn = run, attempt, None
            self._rest.clear()
        self._story = self._story or TranscriptWriter(runtime, self._say)
        if runtime != "native":
            self._story.write(attempt, data)
            return
        for line in self._lines(data):
            found = _event(line)
            if not self._is_ours(found):
                self._line()
                self._story.write(attempt, line + b"\n")
            self._listen(found)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """Whole lines. One that is longer than LINE_CAP is dropped, so that memory has a bound."""
        *ends, last = data.split(b"\n")
        for end in ends:
            self._rest += end
            if len(self._rest) <= LINE_CAP:
                yield bytes(self._rest)
            self._rest.clear()
        if len(self._rest) <= LINE_CAP:
            self._rest += last

    def end(self) -> None:
        """The run's output ends here."""
        if self._story is not None:
            self._story.end()
        self._line()

    def _is_ours(self, event: dict[str, Any]) -> bool:
        """The agent's text, turns and people's words are shown here; all else as `runs logs` shows it."""
        match event.get("type"):
            case "said":
                self._say(_text(event.get("text")))  # pieces of one text, not lines
            case "turn":
                number, words = _count(event.get("number")), {_count(event.get("words"))}
                self.turn = Turn(self._run, number, words, after=tuple(self._read))
                self._words(event)
            case "heard" if event.get("text"):
                self._words(event)
            case "turn_end":
                self._line()
                if event.get("stop") != "end_turn":
                    why = f": {_text(event.get('why'))}" if event.get("why") else ""
                    number = _count(event.get("number"))
                    self._tell(f"[turn {number} ended: {_text(event.get('stop'))}{why}]")
            case "rests":
                self._tell(f"[it rests: {_text(event.get('why'))}; your next words go on with it]")
            case "final" | "session":
                pass
            case _:
                return False
        return True

    def _listen(self, event: dict[str, Any]) -> None:
        turn = self.turn
        if turn is None:
            return
        match event.get("type"):
            case "said":
                turn.answer += _text(event.get("text"))
            case "called":
                turn.answer = ""
            case "heard":
                turn.words.add(_count(event.get("number")))
            case "turn_end":
                turn.stop, turn.why = _text(event.get("stop")) or "none", _text(event.get("why"))
                self.turn = None
                self._turned(turn)

    def _words(self, event: dict[str, Any]) -> None:
        text = _text(event.get("text"))
        if text.strip() in self.mine:
            self.mine.remove(text.strip())
            return
        self._tell(f"{_text(event.get('by')) or 'somebody'}: {text}")

    def _tell(self, text: str) -> None:
        """A line of a person or of PanCode, behind the mark."""
        self._line()
        self._fresh = True
        self._show(f"{OURS}{safe(text)}\n")

    def _line(self) -> None:
        """What comes next begins a line."""
        if not self._fresh:
            self._say("\n")

    def _say(self, text: str) -> None:
        """Text of a model or a program, in pieces that are cut anywhere."""
        if text:
            begins = " " if self._fresh and text.startswith(OURS[0]) else ""
            self._fresh = text.endswith(("\n", "\r"))
            self._show(begins + _IMITATED.sub(rf"\1 {OURS[0]}", text))


def _event(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    """The value if it is a string; half a surrogate pair, which UTF-8 cannot have, becomes `?`."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
