"""Asks the API beside the screen: begins the session, follows it, carries out what a person does."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from node_agent.wire.clock import Ids
from pancode.cli.face import Face, who
from pancode.client import Client
from pancode.errors import PancodeError, UnavailableError
from pancode.sessions.attached import SessionActs, SessionFollower

News = tuple[str, Any]
"""As the follower's; and `begun` and the answer, `note` and a text, `away` and the error, `refused` and
(error, words), `agree` and a `Consent`, `things` and a list of (word, what it is), `crash` and the error."""
MOST_THINGS = 20_000
MOST_RUNS = 50
AWAY_S = 2.0
LEAVE_S = 5.0
"""So long who leaves waits for what was sent last."""
MOST_NEWS = 32
"""Pieces of output that the screen has not taken yet: with more, the stream waits."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A question of a dispatch, whose thread waits for `answer`."""

    question: str
    answer: queue.Queue[bool] = field(default_factory=queue.Queue)


@dataclass(frozen=True)
class ScreenFace(Face):
    """Notes and questions go to the screen."""

    tell: Callable[[News], object] = lambda news: None

    def note(self, text: str) -> None:
        self.tell(("note", text))

    def can_ask(self) -> bool:
        return True

    def agreed(self, question: str, otherwise: str) -> bool:
        asked = Consent(question)
        self.tell(("agree", asked))
        return asked.answer.get()


Begin = Callable[[Face, Client, str], dict[str, Any]]
"""Begins a session with these words; the answer of `POST /v1/sessions`."""


class ChatDesk:
    """Its threads end with the process. `run`: the session, by any of its runs; empty: it is begun later."""

    def __init__(self, face: Face, ids: Ids, begin: Begin, run: str = "", since: str = "") -> None:
        self._plain, self._ids, self._begin = face, ids, begin
        self.run, self._since = run, since
        self._over = threading.Event()
        self._room = threading.Semaphore(MOST_NEWS)
        self._way = threading.Condition()
        self._on_way: list[tuple[Callable[[], object], str]] = []
        """What is asked and what is to be asked, with its words."""
        self.unsure: list[str] = []
        """Words whose answer was lost."""
        self.refused: list[str] = []
        """Words that were refused, and that the field does not have."""

    def start(self, tell: Callable[[News], object]) -> None:
        """Follow the session, if there is one. `tell` may be called by any thread."""
        self._tell = tell
        self._face = ScreenFace(as_json=False, tell=tell)
        self._client = self._plain.client()
        self._client.note = self._face.note
        self.acts = SessionActs(self._client, self._ids, who(), self.run)
        looks = self._plain.client(starts=False)
        self._follower = SessionFollower(
            self._face.note, looks, self._heard, self._since, lambda: not self._over.is_set()
        )
        threading.Thread(target=self._carry_out, name="acts", daemon=True).start()
        if self.run:
            self._follower.follow(self.run)

    def stop(self) -> None:
        self._over.set()

    def leave(self) -> list[str]:
        """Wait a moment for what is on its way. Returns what nobody knows of: words; empty for an act."""
        with suppress(KeyboardInterrupt), self._way:
            self._way.wait_for(lambda: not self._on_way, LEAVE_S)
        return [*self.unsure, *(words for _, words in self._on_way)]

    def arrived(self, words: str) -> None:
        """The stream has them, whatever became of the answer."""
        self.unsure.remove(words)
        self.acts.arrived()

    def taken(self) -> None:
        """The screen has taken a piece of output."""
        self._room.release()

    def begin(self, words: str) -> None:
        """The first words; `begun` or `refused` tells how it went."""

        def work() -> None:
            client = self._plain.client(works=True)
            client.note = self._face.note
            begun = self._begin(self._face, client, words)
            self.run = self.acts.run = begun["run"]
            self._tell(("begun", begun))
            self._follower.follow(self.run)

        self._in_turn(work, words)

    def say(self, words: str) -> None:
        for words_back in (self.unsure, self.refused):
            if words in words_back:
                words_back.remove(words)

        def work() -> None:
            for warning in self.acts.say(words)["warnings"]:
                self._face.note(f"warning: {warning}")
            self._follower.follow(self.run)  # the stream may have ended

        self._in_turn(work, words)

    def do(self, act: Callable[[SessionActs], object], words: str = "") -> None:
        """Any other act, maybe with words; `refused` where it was."""
        self._in_turn(lambda: act(self.acts), words)

    def look(self, folder: str) -> None:
        """What `@` can name: runs, and the files of the repository in this folder."""

        def work() -> None:
            runs = self._client.get("/v1/runs", limit=MOST_RUNS)["runs"]
            found = [(str(run["run"]), str(run["task"] or run["runtime"])) for run in runs]
            self._tell(("things", [*found, *((name, "") for name in _files(folder))]))

        threading.Thread(target=self._carried, args=(work,), daemon=True).start()

    def _heard(self, news: News) -> None:
        kind, data = news
        if kind == "session":
            self.run = self.acts.run = data["run"]
        while kind == "log" and not self._room.acquire(True, AWAY_S):
            if self._over.is_set():
                return
        if kind != "broken":
            self._tell(news)
        elif isinstance(data, UnavailableError) and not self._over.wait(AWAY_S):
            self._tell(("away", data))
            self._follower.follow(self.run)
        elif not self._over.is_set():
            self._tell(("crash", data))

    def _in_turn(self, work: Callable[[], object], words: str = "") -> None:
        """Behind what was asked before."""
        with self._way:
            self._on_way.append((work, words))
            self._way.notify_all()

    def _carry_out(self) -> None:
        while True:
            with self._way:
                self._way.wait_for(lambda: self._on_way)
            self._carried(*self._on_way[0])
            with self._way:
                del self._on_way[0]
                self._way.notify_all()

    def _carried(self, work: Callable[[], object], words: str = "") -> None:
        try:
            work()
        except PancodeError as error:
            back = self.unsure if isinstance(error, UnavailableError) else self.refused
            back += [words] if words else []
            self._tell(("refused", (error, words)))
        except Exception as error:  # a defect: the screen ends with it
            self.unsure += [words] if words else []
            self._tell(("crash", error))


def _files(folder: str) -> list[str]:
    """The names of a repository's files, from this folder; none where it is no repository."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, check=False)
    except OSError:
        return []
    return done.stdout.decode("utf-8", "replace").split("\0")[:-1][:MOST_THINGS]
