"""Reads the output of a session for a terminal: what was said, by whom, turns, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pancode.cli.transcript import is_of_our_worker
from pancode.sessions.output import ReadTurn, WholeLines, count_of, event_of, text_of

LAST_MS = 4_000_000_000_000
"""A later time, in Unix milliseconds, is none: a stream may say anything."""


@dataclass
class Turn(ReadTurn):
    """A turn as the stream tells it. `answer`: what its agent said after its last call."""

    answer: str = ""


@dataclass(frozen=True, slots=True)
class AgentText:
    """A piece of what the agent says, cut anywhere."""

    text: str


@dataclass(frozen=True, slots=True)
class PersonText:
    """Words of a person that the agent was given. `at_ms`: when, in Unix time; 0: nobody says it."""

    by: str
    text: str
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class TurnStopped:
    """A turn has ended. `stop`: how, in the words of the wire; empty where it is no text."""

    number: int
    stop: str
    why: str


@dataclass(frozen=True, slots=True)
class Resting:
    """The sitting ends by itself."""

    why: str


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """Anything else. `event`: of one whole line of a worker of ours; None: bytes of another program."""

    run: str
    attempt: str
    runtime: str
    data: bytes
    event: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class OutputOver:
    """The output of a run ends here."""


StreamItem = AgentText | PersonText | TurnStopped | Resting | ProgramOutput | OutputOver


class SessionReader:
    """Reads the output of each run. `take` gets what a person is to see; `turned` each ended turn."""

    def __init__(self, take: Callable[[StreamItem], object], turned: Callable[[Turn], object]) -> None:
        self._take, self._turned = take, turned
        self._run = self._attempt = ""
        self._lines = WholeLines()
        self._read: list[str] = []
        self._takes_turns = False
        self.turn: Turn | None = None
        """The turn at work that was read last."""

    def feed(self, run: str, attempt: str, data: bytes, runtime: str) -> None:
        """The next bytes; cut anywhere. Only lines of our own worker are turns and words of people."""
        if run != self._run and self._run:
            self.end()
            self._read.append(self._run)
        if (run, attempt) != (self._run, self._attempt):
            self._run, self._attempt, self.turn = run, attempt, None
            self._takes_turns = is_of_our_worker(runtime, data)
            self._lines.rest.clear()
        if not self._takes_turns:
            self._take(ProgramOutput(run, attempt, runtime, data, None))
            return
        for line in self._lines.feed(data):
            found = event_of(line)
            if found.get("type") not in ("final", "session"):
                self._take(self._item(found) or ProgramOutput(run, attempt, runtime, line + b"\n", found))
            self._listen(found)

    def end(self) -> None:
        """The run's output ends here."""
        self._take(OutputOver())

    def _item(self, event: dict[str, Any]) -> StreamItem | None:
        """The agent's text, turns and people's words; None for all else."""
        match event.get("type"):
            case "said":
                return AgentText(text_of(event.get("text")))
            case "turn":
                number, words = count_of(event.get("number")), {count_of(event.get("words"))}
                self.turn = Turn(self._run, number, words, tuple(self._read))
                return _person(event)
            case "heard" if event.get("text"):
                return _person(event)
            case "turn_end":
                return TurnStopped(
                    count_of(event.get("number")), text_of(event.get("stop")), text_of(event.get("why"))
                )
            case "rests":
                return Resting(text_of(event.get("why")))
        return None

    def _listen(self, event: dict[str, Any]) -> None:
        turn = self.turn
        if turn is None:
            return
        match event.get("type"):
            case "said":
                turn.answer += text_of(event.get("text"))
            case "called":
                turn.answer = ""
            case "heard":
                turn.words.add(count_of(event.get("number")))
            case "turn_end":
                turn.end(event)
                self.turn = None
                self._turned(turn)


def _person(event: dict[str, Any]) -> PersonText:
    at = count_of(event.get("at"))
    by = text_of(event.get("by")) or "somebody"
    return PersonText(by, text_of(event.get("text")), at if at < LAST_MS else 0)
