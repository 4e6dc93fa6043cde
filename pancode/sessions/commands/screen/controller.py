"""Calls the API for the screen, in threads: starts the session, follows it, and runs the user's actions."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from node_agent.wire.clock import Ids
from pancode.agents.answers import MODES, SAFETY, LevelShape, ModeShape
from pancode.config.answers import PRESETS
from pancode.interfaces.cli.parameters import Face, find_user
from pancode.interfaces.client.caller import find_folder
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.session import SessionActs, SessionFollower
from pancode.kernel.errors import PancodeError, UnavailableError, UsageError
from pancode.runs.answers import RUNS, QueuedAnswer
from pancode.sessions.commands.preflight import FoundLine
from pancode.sessions.commands.slash import CommandEnd, TypedCommand, carried_out
from pancode.sessions.commands.terms import Terms, format_terms, is_raise, set_terms

News = tuple[str, Any]
"""The session follower's updates, and: `begun` and the answer, `note`, `progress` or `warning` and a text,
`away` and the error, `refused` and (error, message), `panel` and (title, text), `agree` and a `Consent`,
`found` and lines, `terms` and the settings' mode and level, `things` and (name, description) pairs, `crash`
and the error."""
MOST_THINGS = 20_000
MOST_RUNS = 50
AWAY_S = 2.0
WATCH_S = 2.0
"""Seconds between two checks of the other runs."""
LEAVE_S = 5.0
"""How many seconds leaving waits at most for the response to the last request."""
MOST_NEWS = 32
"""How many pieces of output may be queued for the screen before the stream waits."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A question to the user; a thread waits for its `answer`. `yes`: the label of the key that approves."""

    question: str
    title: str = "before the session starts"
    action: str = "begin it"
    answer: queue.Queue[bool] = field(default_factory=queue.Queue)


@dataclass(frozen=True)
class ScreenFace(Face):
    """A face that sends its notes and questions to the screen."""

    notify: Callable[[News], object] = lambda news: None

    def note(self, text: str) -> None:
        self.notify(("note", text))

    def can_ask(self) -> bool:
        return True

    def confirm(self, question: str, otherwise: str) -> bool:
        return self.ask_consent(Consent(question))

    def ask_consent(self, consent: Consent) -> bool:
        self.notify(("agree", consent))
        return consent.answer.get()


Begin = Callable[[Face, Client, str, Terms], QueuedAnswer]
"""Starts a session with this message, in the mode and level chosen by keys; returns the API's answer."""
Opening = Callable[[Face, Client], list[FoundLine]]
"""Prepares what the session needs; returns the lines shown before the first message."""


Runs = Callable[[Sequence[str], float, int], CommandEnd]
"""Runs a `pancode` command, as `carried_out` does."""


class ChatController:
    """Runs the screen's requests in threads. `run`: any run of the session; empty if it has not started."""

    def __init__(
        self,
        face: Face,
        ids: Ids,
        begin: Begin | None,
        run: str = "",
        since: str = "",
        opening: Opening | None = None,
        flags: Terms | None = None,
        runs: Runs = carried_out,
    ) -> None:
        self._plain, self._ids, self._begin, self._opening, self._runs = face, ids, begin, opening, runs
        self._flags = flags or {}
        self.run, self._since = run, since
        self._over = threading.Event()
        self._room = threading.Semaphore(MOST_NEWS)
        self._way = threading.Condition()
        self._on_way: list[tuple[Callable[[], object], str | None]] = []
        """The running and the queued requests, each with the message that it sends; None if it only reads."""
        self.unsure: list[str] = []
        """Messages whose response was lost."""
        self.refused: list[str] = []
        """Messages that were refused and are not back in the field."""

    def start(self, notify: Callable[[News], object]) -> None:
        """Start the threads and follow the session, if there is one. Any thread may call `notify`."""
        self._tell = notify
        self._face = ScreenFace(as_json=False, notify=notify)
        self._client = self._plain.client()
        self._client.note = self._note_progress
        self.acts = SessionActs(self._client, self._ids, find_user(), self.run)
        looks = self._plain.client(starts=False)
        self._follower = SessionFollower(
            self._note_progress, looks, self._take_news, self._since, lambda: not self._over.is_set()
        )
        threading.Thread(target=self._carry_out, name="acts", daemon=True).start()
        threading.Thread(target=self._watch, name="live", daemon=True).start()
        if self.run:
            self._follower.follow(self.run)
        elif self._opening is None:
            threading.Thread(target=self._look_up, name="terms", daemon=True).start()
        if self._opening is not None:
            self._in_turn(self._open, None)

    def _note_progress(self, text: str) -> None:
        self._tell(("progress", text))

    def _open(self) -> None:
        """Report what was found, before carrying out any request that the user makes meanwhile."""
        assert self._opening is not None
        client = self._plain.client(works=True)
        client.note = self._note_progress
        try:
            self._tell(("found", self._opening(self._face, client)))
        except PancodeError as error:
            self._tell(("crash", error))
        self._look_up()

    def _look_up(self) -> None:
        """Report a new session's mode and level; report nothing if no coordinator answers."""
        looks = self._plain.client(starts=False)
        with suppress(PancodeError):
            place = find_folder()
            modes = looks.get(MODES, cwd=place)["modes"]
            level = _find_default(looks.get(SAFETY, cwd=place)["safety"])
            if name := self._flags.get("preset"):
                level = looks.get(PRESETS, name=name)["presets"][0]["safety"] or level
            self._flags = {"mode": _find_default(modes), "safety": level, **self._flags}
            self._tell(("terms", self._flags))

    def change(self, terms: Terms) -> None:
        """Set another mode or level for the next message; a higher level first needs consent on a card."""

        def work() -> None:
            done = set_terms(self._client, self.run, terms, self._ask_more)
            self._tell(("note", format_terms(done)))

        self._in_turn(work)

    def _ask_more(self, question: str) -> bool:
        return self._face.ask_consent(
            Consent(question, "before the agent may do more without asking", "do it")
        )

    def _watch(self) -> None:
        """Report how many runs other than this session's are active, until the screen is closed."""
        looks, last = self._plain.client(starts=False), 0
        while not self._over.wait(WATCH_S):
            with suppress(PancodeError):
                runs = looks.get(RUNS, outcome="running", limit=MOST_RUNS)["runs"]
                now = sum(one["run"] != self.run and one["status"] != "waiting_for_you" for one in runs)
                if now != last:
                    last = now
                    self._tell(("live", now))

    def stop(self) -> None:
        with self._way:
            self._over.set()
            self._way.notify_all()

    def leave(self) -> list[str]:
        """Wait briefly for open requests; return the message, or "", of each with an unknown result."""
        with suppress(KeyboardInterrupt), self._way:
            self._way.wait_for(lambda: not self._list_unanswered(), LEAVE_S)
        return [*self.unsure, *self._list_unanswered()]

    def _list_unanswered(self) -> list[str]:
        return [words for _, words in self._on_way if words is not None]

    def arrived(self, words: str) -> None:
        """Note that this message has arrived: the stream contains it, although its response was lost."""
        self.unsure.remove(words)
        self.acts.arrived()

    def taken(self) -> None:
        """Note that the screen has taken a piece of output."""
        self._room.release()

    def begin(self, words: str, terms: Terms) -> None:
        """Start the session; `begun` or `refused` reports the result. A higher level needs user consent."""

        def work() -> None:
            client = self._plain.client(works=True)
            client.note = self._note_progress
            level = terms.get("safety", "")
            question = f"With safety {level}, the agent would do more without asking you. Start the session?"
            if is_raise(self._flags.get("safety", ""), level) and not self._face.confirm(question, ""):
                fix = "choose another level with Ctrl-Y"
                raise UsageError("the session was not started", fix=fix, code="not_agreed")
            assert self._begin is not None
            begun = self._begin(self._face, client, words, terms)
            self.run = self.acts.run = begun["run"]
            self._tell(("begun", begun))
            self._follower.follow(self.run)

        self._in_turn(work, words)

    def say(self, words: str) -> None:
        for words_back in (self.unsure, self.refused):
            if words in words_back:
                words_back.remove(words)

        def work() -> None:
            if not self.run:
                fix = "send the message again"
                raise UsageError("the session has not started", fix=fix, code="no_session")
            for warning in self.acts.say(words)["warnings"]:
                self._tell(("warning", warning))
            self._follower.follow(self.run)  # The stream may have ended.

        self._in_turn(work, words)

    def do(self, act: Callable[[SessionActs], object], words: str = "") -> None:
        """Queue another action; `words`: the message that it sends. A failure is reported as `refused`."""
        self._in_turn(lambda: act(self.acts), words)

    def look(self, folder: str) -> None:
        """Find the names that `@` can complete: runs, and the files of the repository in this directory."""

        def work() -> None:
            runs = self._client.get(RUNS, limit=MOST_RUNS)["runs"]
            found = [(str(run["run"]), str(run["task"] or run["runtime"])) for run in runs]
            self._tell(("things", [*found, *((name, "") for name in _list_files(folder))]))

        threading.Thread(target=self._run_work, args=(work,), daemon=True).start()

    def theme(self) -> str:
        """Return the current theme, without starting a coordinator or printing anything."""
        from pancode.interfaces.tui.themes import read_theme

        client = self._plain.client(starts=False)
        client.note = lambda text: None
        return read_theme(client)

    def show(self, command: TypedCommand, columns: int) -> None:
        """Run a command and show its output, without waiting for queued messages."""

        def work() -> None:
            argv = command.command.argv(command.words, self.run)
            end = self._runs(argv, command.command.patience_s, columns)
            if end.needs_yes and self._ask_more(end.question):
                end = self._runs([*argv, "--yes"], command.command.patience_s, columns)
            self._tell(("panel", (command.text, end.text)))

        threading.Thread(target=self._run_work, args=(work,), daemon=True).start()

    def _take_news(self, news: News) -> None:
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

    def _in_turn(self, work: Callable[[], object], words: str | None = "") -> None:
        """Queue the work after earlier requests. `words`: the message it sends; None if it only reads."""
        with self._way:
            self._on_way.append((work, words))
            self._way.notify_all()

    def _carry_out(self) -> None:
        while True:
            with self._way:
                self._way.wait_for(lambda: self._on_way or self._over.is_set())
                if not self._on_way:
                    return
            work, words = self._on_way[0]
            self._run_work(work, words or "")
            with self._way:
                del self._on_way[0]
                self._way.notify_all()

    def _run_work(self, work: Callable[[], object], words: str = "") -> None:
        try:
            work()
        except PancodeError as error:
            back = self.unsure if isinstance(error, UnavailableError) else self.refused
            back += [words] if words else []
            self._tell(("refused", (error, words)))
        except Exception as error:  # A bug in a request ends the screen.
            self.unsure += [words] if words else []
            self._tell(("crash", error))


def _find_default(rows: Sequence[ModeShape | LevelShape]) -> str:
    return next((str(row["name"]) for row in rows if row["default"]), "")


def _list_files(folder: str) -> list[str]:
    """Return the paths of the repository's files relative to this directory; empty outside a repository."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, check=False)
    except OSError:
        return []
    return done.stdout.decode("utf-8", "replace").split("\0")[:-1][:MOST_THINGS]
