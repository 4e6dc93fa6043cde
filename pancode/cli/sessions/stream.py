"""Follows a session's stream from its last number, and reads it: whole lines of output, turns, answers."""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pancode.cli.face import Face
from pancode.cli.follow import resumed
from pancode.cli.terminal import safe
from pancode.cli.transcript import TranscriptWriter, transcript_writer
from pancode.client import Client, path_of
from pancode.errors import PancodeError

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
        except PancodeError as error:
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
        self._run, self._rest = "", b""
        self._read: list[str] = []
        self._story: TranscriptWriter | None = None
        self._turn: Turn | None = None
        self._fresh = True
        self.mine: list[str] = []
        """Words that stand on this terminal already, as they were typed there."""

    def feed(self, run: str, attempt: str, data: bytes, runtime: str) -> None:
        """The next bytes; cut anywhere."""
        if run != self._run:
            self.end()
            self._read += [self._run] if self._run else []
            self._run, self._rest = run, b""
            self._story = transcript_writer(runtime, self._say)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            found = _event(line)
            if self._story is None:
                self._say(f"{line.decode('utf-8', 'replace')}\n")
            elif not self._is_ours(found):
                self._line()
                self._story.write(attempt, line + b"\n")
            self._listen(found)

    def end(self) -> None:
        """The run's output ends here."""
        if self._story is not None:
            self._story.end()
        self._line()

    def _is_ours(self, event: dict[str, Any]) -> bool:
        """The agent's text, turns and people's words are shown here; all else as `runs logs` shows it."""
        match event.get("type"):
            case "said":
                self._say(str(event.get("text") or ""))  # pieces of one text, not lines
            case "turn":
                number, words = int(event.get("number") or 0), {int(event.get("words") or 0)}
                self._turn = Turn(self._run, number, words, after=tuple(self._read))
                self._words(event)
            case "heard" if event.get("text"):
                self._words(event)
            case "turn_end":
                self._line()
                if event.get("stop") != "end_turn":
                    why = f": {safe(str(event['why']))}" if event.get("why") else ""
                    self._say(f"[turn {event.get('number')} ended: {event.get('stop')}{why}]\n")
            case "rests":
                self._line()
                self._say(f"[it rests: {event.get('why')}; your next words go on with it]\n")
            case "final" | "session":
                pass
            case _:
                return False
        return True

    def _listen(self, event: dict[str, Any]) -> None:
        turn = self._turn
        if turn is None:
            return
        match event.get("type"):
            case "said":
                turn.answer += str(event.get("text") or "")
            case "called":
                turn.answer = ""
            case "heard":
                turn.words.add(int(event.get("number") or 0))
            case "turn_end":
                turn.stop, turn.why = str(event.get("stop")), str(event.get("why") or "")
                self._turn = None
                self._turned(turn)

    def _words(self, event: dict[str, Any]) -> None:
        text = str(event.get("text") or "")
        if text.strip() in self.mine:
            self.mine.remove(text.strip())
            return
        self._line()
        self._say(f"{safe(str(event.get('by') or 'somebody'))}: {safe(text)}\n")

    def _line(self) -> None:
        """What comes next begins a line."""
        if not self._fresh:
            self._say("\n")

    def _say(self, text: str) -> None:
        if text:
            self._fresh = text.endswith("\n")
            self._show(text)


def _event(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
