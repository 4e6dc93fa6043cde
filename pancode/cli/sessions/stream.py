"""Reads the output of a session for a terminal: lines of our own worker as events, all else as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pancode.sessions.output import ReadTurn, TurnReader, WorkerEvent, is_of_our_worker


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """`event`: of one whole line of a worker of ours; None: bytes of another program."""

    run: str
    attempt: str
    runtime: str
    data: bytes
    event: WorkerEvent | None


@dataclass(frozen=True, slots=True)
class OutputOver:
    """The output of a run ends here."""


StreamItem = ProgramOutput | OutputOver


class SessionReader:
    """Reads the output of each run. `take` gets what a person is to see; `turned` each ended turn."""

    def __init__(self, take: Callable[[StreamItem], object], turned: Callable[[ReadTurn], object]) -> None:
        self._take, self._turns = take, TurnReader(turned)
        self._takes_turns = False

    @property
    def turn(self) -> ReadTurn | None:
        """The turn at work that was read last."""
        return self._turns.turn

    def feed(self, run: str, attempt: str, data: bytes, runtime: str) -> None:
        """The next bytes; cut anywhere. Only lines of our own worker are turns and words of people."""
        if self._turns.run not in ("", run):
            self.end()
        if self._turns.at(run, attempt):
            self._takes_turns = is_of_our_worker(runtime, data)
        if not self._takes_turns:
            self._take(ProgramOutput(run, attempt, runtime, data, None))
            return
        for line, event in self._turns.feed(data):
            if event.kind not in ("final", "session"):
                self._take(ProgramOutput(run, attempt, runtime, line + b"\n", event))

    def end(self) -> None:
        """The run's output ends here."""
        self._take(OutputOver())
