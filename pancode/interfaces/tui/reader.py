"""Reads the API beside the screen: what a view asks for, again when the feed says that something happened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pancode.interfaces.client.client import Client
from pancode.interfaces.tui.acts import Act
from pancode.interfaces.tui.views import ApiAsk, Asks
from pancode.kernel.errors import ApiError, PancodeError

LEAST_S, QUIET_S, AGAIN_S = 1.0, 10.0, 1.0
"""Seconds between two readings: at least; at most, if nothing happens; and while no coordinator answers."""


@dataclass(frozen=True, slots=True)
class AnswersRead:
    """Answers to what view number `turn` asked for. `refused`: what the coordinator said instead."""

    turn: int
    answers: Mapping[str, Any]
    refused: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Away:
    """The coordinator does not answer."""

    why: PancodeError


@dataclass(frozen=True, slots=True)
class Crashed:
    """A thread of the console has failed: a defect."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Looked:
    """The current state of the thing on which a user wants to act."""

    ticket: int
    shape: Any


@dataclass(frozen=True, slots=True)
class Acted:
    """An act was carried out, or refused."""

    act: Act | None
    refused: PancodeError | None = None


News = AnswersRead | Away | Crashed | Looked | Acted
Say = Callable[[News], object]


class Reader:
    """Reads from the coordinator in threads, which end with `stop` or with the process.

    `first` asks the first question and may start a coordinator; `client` only asks one that runs.
    """

    def __init__(
        self, first: Client, client: Client, say: Say, pause_s: tuple[float, float] | None = None
    ) -> None:
        self._first: Client | None = first
        self._client, self._say = client, say
        self._least_s, self._quiet_s = pause_s or (LEAST_S, QUIET_S)
        self._turn, self._asks = 0, dict[str, ApiAsk]()
        self._fixed: dict[str, Any] = {}
        self._over = threading.Event()
        self._lock, self._wake, self._at_once = threading.Lock(), threading.Event(), threading.Event()

    def start(self) -> None:
        self.beside(self._read)
        self.beside(self._follow)

    def stop(self) -> None:
        """Ask nothing more; a question under way is not waited for."""
        self._over.set()
        self.again()

    def beside(self, work: Callable[[], None]) -> None:
        """Run the work in a thread of its own; if it fails, the screen shows that."""

        def run() -> None:
            try:
                work()
            except Exception as error:
                self._say(Crashed(error))

        threading.Thread(target=run, daemon=True).start()

    def want(self, turn: int, asks: Asks) -> None:
        """Fetch these answers from now on, the first time at once."""
        with self._lock:
            self._fixed = self._fixed if turn == self._turn else {}
            self._turn, self._asks = turn, dict(asks)
        self.again()

    def again(self) -> None:
        """Read now."""
        self._at_once.set()
        self._wake.set()

    def look(self, ticket: int, ask: ApiAsk) -> None:
        """Ask this and tell `Looked`, or `Acted` with the refusal."""

        def work() -> None:
            try:
                self._say(Looked(ticket, self._answer(ask)))
            except PancodeError as error:
                self._say(Acted(None, error))

        self.beside(work)

    def act(self, act: Act, by: str) -> None:
        """Send the act and tell `Acted`."""

        def work() -> None:
            try:
                self._client.post(act.path, {"by": by, **act.body}, act.wait_s)
            except PancodeError as error:
                self._say(Acted(act, error))
            else:
                self._say(Acted(act))
            self.again()

        self.beside(work)

    def _read(self) -> None:
        while not self._over.is_set():
            self._wake.clear()
            self._at_once.clear()
            with self._lock:
                turn, asks = self._turn, dict(self._asks)
            away = self._look_once(turn, asks)
            self._at_once.wait(AGAIN_S if away else self._least_s)
            if not away:
                self._wake.wait(self._quiet_s)

    def _look_once(self, turn: int, asks: Mapping[str, ApiAsk]) -> bool:
        """Fetch the answers once and tell them; return whether the coordinator is away."""
        answers, refused = dict[str, Any](), None
        for name, ask in asks.items():
            try:
                answers[name] = self._fixed[name] if name in self._fixed else self._answer(ask)
            except ApiError as error:
                refused = error
            except PancodeError as error:
                self._say(Away(error))
                return True
        with self._lock:
            if turn == self._turn:
                self._fixed = {name: answer for name, answer in answers.items() if asks[name].once}
        self._say(AnswersRead(turn, answers, refused))
        return False

    def _answer(self, ask: ApiAsk) -> Any:
        client = self._first or self._client
        answer = client.raw(ask.path, **ask.query) if ask.raw else client.get(ask.path, **ask.query)
        self._first = None
        return answer

    def _follow(self) -> None:
        """Follow the events. They only wake the reading, so a gap in them loses nothing."""
        while not self._over.is_set():
            with suppress(PancodeError):
                for _ in self._client.events("GET", "/v1/events", query={"tail": 0}):
                    self._wake.set()
                    if self._over.is_set():
                        return
            self._wake.set()
            self._over.wait(AGAIN_S)
