"""One conversation of an editor: begins a session of the fleet, says words, follows, asks, cancels."""

from __future__ import annotations

import base64
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from node_agent.wire.clock import Clock, Ids
from pancode.acp.updates import EditorTurn, UpdateReader, card_of, chunk, ending, permission
from pancode.client import (
    Client,
    FleetDownError,
    NotRunningError,
    RepeatedPost,
    StreamCutError,
    path_of,
)
from pancode.errors import ApiError, PancodeError, UsageError
from pancode.plain import unhidden
from pancode.sessions.output import NO_TURN, OVER

Json = dict[str, Any]
LOOK_S, AGAIN_S, TRIES = 0.5, 1.0, 60
"""Between two looks at a cancel; between two tries to reach a coordinator that is away; so many of them."""
CANCEL_MS = 15_000
"""So long after a cancel the editor is answered, whether the machine has heard of it or not."""
_STOPS = {
    "end_turn": "end_turn",
    "cancelled": "cancelled",
    "refusal": "refusal",
    "limit": "max_turn_requests",
}
_NEEDS_YES, _UNTESTED = "needs_yes", "model_untested"
"""Codes of the coordinator."""
COMMANDS = {
    "rest": "the session rests: its machine is free, and its change can be landed",
    "end": "end the session; what it made is kept",
}


class EditorLink(Protocol):
    """The editor at the other end."""

    def update(self, session: str, update: Json) -> None:
        """Show something of this session."""

    def ask(self, session: str, params: Json, then: Callable[[str | None], None]) -> int:
        """A card with options; `then` gets the one that a person chose, None: none. Returns its number."""

    def withdraw(self, number: int) -> None:
        """The card needs no answer any more; `then` is not called."""


@dataclass(frozen=True, slots=True)
class EditorFleet:
    """What all conversations of an editor share. `client`: of the API; True: a fleet that is down comes up.

    `begins`: the options of new sessions. `names`: a folder that has the run of each session by our name.
    """

    link: EditorLink
    client: Callable[[bool], Client]
    ids: Ids
    clock: Clock
    begins: Json
    names: Path
    is_remote: bool = False


class EditorSession:
    """`name`: as the editor calls it; `folder`: where the editor works; `cwd`: that, as the coordinator sees
    it; `run`: any run of the session, empty where nobody has said anything yet."""

    def __init__(self, fleet: EditorFleet, name: str, folder: str, by: str, run: str = "") -> None:
        self._fleet, self.name, self.folder, self._by, self.run = fleet, name, folder, by, run
        self.wants: Json = {}
        """What was chosen in the editor for a session that has not begun."""
        self.shape: Json = {}
        self.cwd: str | None = folder
        self._state = threading.Condition()
        self._words = RepeatedPost(lambda: fleet.ids.token(16))
        self._reader = UpdateReader(folder, by)
        self._follows = False
        self._since = self._attempt = ""
        self._broken: Exception | None = None
        self._over = False
        self._cancelled = threading.Event()
        self._card: tuple[int, str] | None = None
        """The card that is shown: its number, and the id of its tool call where that is of its own."""
        self._asked: Json = {}
        self._question: Json = {}
        """The question with which the last answer ended: the next words answer it."""

    # ---- what the editor asks
    def prompt(self, text: str) -> Json:
        """Say words, and wait for the end of their turn; the result of `session/prompt`. PancodeError."""
        command = text.strip().removeprefix("/") if text.startswith("/") else ""
        with self._state:
            if command in COMMANDS:
                return self._command(command)
            message = self._said(text)  # the stream waits meanwhile: these words are shown already
            self._reader.mine.add(message)
            self._follow()
            return self._ended(message)

    def prompted(self) -> None:
        """A prompt has come, and is about to be answered: only a cancel behind it is meant for it."""
        self._cancelled.clear()

    def cancel(self) -> None:
        """The turn of the prompt at work is to end."""
        self._cancelled.set()

    def replay(self) -> None:
        """Show all that was said, and go on from there. PancodeError."""
        with self._state:
            self._follow()
            while not self.shape and self._broken is None and not self._over:
                self._state.wait(LOOK_S)
            self._unless_broken()

    def leave(self) -> None:
        """The editor has opened this session anew, in another object: nothing more is shown or asked here."""
        with self._state:
            self._ask({})
            self._over = True
            self._state.notify_all()

    # ---- words
    def _said(self, text: str) -> tuple[str, int]:
        """Where the words are: their run, and their number there."""
        client = self._fleet.client(True)
        if not self.run:
            self.run = str(self._begun(client, text)["run"])
            keep(self._fleet.names, self.name, self.run)
            return self.run, 0
        asked, self._question = self._question, {}
        if asked and asked == self._asked:
            done = client.post(path_of("runs", asked["run"], "answer"), {"by": self._by, "text": text})
            return str(done["run"]), 0
        body = {"by": self._by, "text": text}
        done = self._words.post(client, path_of("sessions", self.run, "words"), body)
        return str(done["run"]), int(done["number"])

    def _begun(self, client: Client, text: str) -> Json:
        """The first sitting. What a person or a model has to say first is asked."""
        where = {} if self.cwd is None else {"cwd": self.cwd}
        chosen = {
            name: value for name, value in {**self._fleet.begins, **self.wants}.items() if value is not None
        }
        body: Json = {"task": text, **chosen, **where, "by": self._by}
        tested: set[str] = set()
        while True:
            try:
                begun: Json = client.post_work("/v1/sessions", body, lambda under_way: None)
            except ApiError as refused:
                node, place = refused.details.get("node", ""), _place_of(refused)
                if refused.code == _NEEDS_YES and "yes" not in body and self._agreed(refused):
                    body["yes"] = True
                elif refused.code == _UNTESTED and place and place not in tested:
                    tested.add(place)
                    self._test(client, {"by": self._by, "model": place, "node": node})
                else:
                    raise
                continue
            for warning in begun["warnings"]:
                self._think(f"warning: {warning}\n")
            self._think(f"session {begun['run']}: agent {begun['agent']}\n")
            return begun

    def _agreed(self, refused: ApiError) -> bool:
        """Whether a person says yes to this dispatch."""
        answers: queue.Queue[str | None] = queue.Queue()
        asks = {"run": self.name, "kind": "start", "words": str(refused)}
        number = self._fleet.link.ask(self.name, permission(asks, None), answers.put)
        while not self._cancelled.is_set():
            try:
                return answers.get(timeout=LOOK_S) == "once"
            except queue.Empty:
                continue
        self._fleet.link.withdraw(number)
        return False

    def _test(self, client: Client, asked: Json) -> None:
        """A model that nobody has tested is tested, each step as it happens."""
        for event in client.events("POST", "/v1/models/test", asked):
            if event.kind == "progress":
                self._think(f"{event.data['text']}\n")

    # ---- the end of a turn
    def _ended(self, message: tuple[str, int]) -> Json:
        patience_ms = 0
        while True:
            turn = next((one for one in self._reader.ended if one.has(*message)), None)
            if turn is not None:
                return self._result(turn)
            self._unless_broken()
            if self.shape and any(one["run"] == message[0] for one in self.shape["sittings"]):
                if self._asked.get("kind") == "question":
                    return self._asks_for_words()
                if self.shape["state"] in OVER and not self.shape["goes_on"]:
                    return self._missed()
            if self._cancelled.is_set():
                if not patience_ms:
                    self._cancel()
                    patience_ms = self._fleet.clock.mono_ms() + CANCEL_MS
                elif self._fleet.clock.mono_ms() >= patience_ms:
                    return {"stopReason": "cancelled"}
            self._state.wait(LOOK_S)

    def _result(self, turn: EditorTurn) -> Json:
        if turn.stop not in _STOPS:
            raise PancodeError(
                f"the turn has ended: {turn.stop}", why=turn.why, fix=f"pancode why {turn.run}", code="turn"
            )
        if turn.why:
            self._think(f"{turn.why}\n")
        if below := ending(turn, self.shape):
            self._show(chunk("agent_message_chunk", below))
        return {"stopReason": _STOPS[turn.stop]}

    def _missed(self) -> Json:
        """No turn has taken the words, and none will without more of them."""
        if self._cancelled.is_set():
            return {"stopReason": "cancelled"}
        state, run = self.shape["state"], self.shape["run"]
        what = "no turn has taken these words; they are kept for the next ones"
        if state == "turn lost":
            what = "the turn is lost: its program ended in the middle of it. Say it again if you want that"
        raise PancodeError(what, why=self.shape["reason"], fix=f"pancode why {run}", code="no_answer")

    def _asks_for_words(self) -> Json:
        """The question ends the turn: what is said next answers it, and nothing else."""
        self._question = self._asked
        listed = "".join(f"\n{number}. {one}" for number, one in enumerate(self._asked["choices"], start=1))
        self._show(chunk("agent_message_chunk", unhidden(f"\n\n{self._asked['words']}{listed}\n")))
        return {"stopReason": "end_turn"}

    def _cancel(self) -> None:
        """End the turn at work; a sitting that has not begun never does."""
        client, turn = self._fleet.client(False), self._reader.turn
        seen = turn is not None and turn.run == self.shape.get("run", self.run) and turn.number
        body: Json = {"by": self._by, "what": "cancel", **({"turn": seen} if seen else {})}
        try:
            client.post(path_of("sessions", self.run, "turn"), body)
        except ApiError as refused:
            if refused.code != NO_TURN:
                raise
            client.post(path_of("sessions", self.run, "end"), {"by": self._by})

    def _command(self, command: str) -> Json:
        if not self.run:
            raise UsageError("this session has not begun", fix="say something first")
        client, body = self._fleet.client(False), {"by": self._by}
        try:
            if command == "end":
                client.post(path_of("sessions", self.run, "end"), body)
            else:
                client.post(path_of("sessions", self.run, "turn"), {**body, "what": "rest"})
        except ApiError as refused:
            if refused.code != NO_TURN:
                raise
        self._follow()
        self.shape = client.get(path_of("sessions", self.run))
        while self.shape["state"] not in OVER and not self._cancelled.is_set():
            self._unless_broken()
            self._state.wait(LOOK_S)
        run, state = self.shape["run"], self.shape["state"]
        words = f"{state}. Look: `pancode runs diff {run}`. Bring it into your files: `pancode land {run}`.\n"
        self._show(chunk("agent_message_chunk", words))
        return {"stopReason": "end_turn"}

    # ---- the stream
    def _follow(self) -> None:
        if not self._follows:
            self._follows, self._broken = True, None
            threading.Thread(target=self._listen, name=self.name, daemon=True).start()

    def _listen(self) -> None:
        try:
            for kind, data in self._events():
                with self._state:
                    if self._over:
                        return
                    self._take(kind, data)
                    self._state.notify_all()
        except Exception as error:  # who waits for a turn waits for this thread
            with self._state:
                self._follows, self._broken = False, error
                self._state.notify_all()

    def _events(self) -> Iterator[tuple[str, Any]]:
        """The stream from the last number on; cut off, it is begun again there."""
        tries, client = 0, self._fleet.client(False)
        path = path_of("sessions", self.run, "stream")
        while not self._over:
            query = {"since": self._since or None, "attempt": self._attempt or None}
            try:
                for event in client.events("GET", path, query=query, wanted=lambda: not self._over):
                    tries = 0
                    yield event.kind, event.data
                    if event.kind == "end":
                        return
            except (StreamCutError, NotRunningError) as cut:
                if tries >= TRIES or isinstance(cut, FleetDownError):
                    raise
            tries += 1
            time.sleep(AGAIN_S)

    def _take(self, kind: str, data: Any) -> None:
        if kind == "log":
            self._since, self._attempt = f"{data['run']}:{data['next']}", data["attempt"]
            for update in self._reader.feed(data["run"], data["attempt"], base64.b64decode(data["b64"])):
                self._show(update)
        elif kind == "session":
            self.shape = data
            if data["project"] and not self._fleet.is_remote:
                self._reader.folder = data["project"]
            if (data["asks"] or {}) != self._asked:
                self._ask(data["asks"] or {})
        elif kind == "end":
            self._follows = False

    def _ask(self, asks: Json) -> None:
        """Show a card for what waits now; the one before is over, whoever has answered it."""
        if self._card is not None:
            number, own = self._card
            self._fleet.link.withdraw(number)
            self._card = None
            if own:
                told = {"sessionUpdate": "tool_call_update", "toolCallId": own, "status": "completed"}
                self._show(told)
        self._asked = asks
        if asks and asks["kind"] != "question":
            call = self._reader.call
            number = self._fleet.link.ask(self.name, permission(asks, call), partial(self._answered, asks))
            self._card = number, "" if asks["kind"] == "call" and call else card_of(asks, call)

    def _answered(self, asks: Json, option: str | None) -> None:
        """A person has chosen: the question that was shown is answered, and no other one."""
        if option is None:
            if not self._cancelled.is_set():  # else the editor has closed the card: the turn ends
                self._think(f"nobody has answered; it still waits: {asks['command']}\n")
            return
        body: Json = {"by": self._by, **({"call": asks["call"]} if asks["call"] is not None else {})}
        act = "deny" if option == "no" else "approve"
        if act == "approve":
            body["scope"] = "run" if option == "run" else "once"
        try:
            self._fleet.client(True).post(path_of("runs", asks["run"], act), body)
        except PancodeError as refused:
            self._think(f"your answer did not count: {refused.words}. In a terminal: {asks['command']}\n")
            with self._state:
                if asks == self._asked:
                    self._card = None
                    self._ask(asks)

    # ---- what is shown
    def _show(self, update: Json) -> None:
        if not self._over:
            self._fleet.link.update(self.name, update)

    def _think(self, text: str) -> None:
        """Words of PanCode itself, beside the agent's answer."""
        self._show(chunk("agent_thought_chunk", unhidden(text)))

    def _unless_broken(self) -> None:
        if self._over:
            raise PancodeError(
                "the session was loaded again; its turn goes on, and is shown there", code="left"
            )
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken


def _place_of(refused: ApiError) -> str:
    """Of a model that wants a test."""
    parts = [refused.details.get(name, "") for name in ("node", "endpoint", "model")]
    return "/".join(parts) if all(parts) else ""


MOST_NAMES = 1_000


def keep(names: Path, name: str, run: str) -> None:
    """An editor names a session before it has a run, and loads it by that name after a restart."""
    names.mkdir(mode=0o700, parents=True, exist_ok=True)
    (names / name).write_text(run)
    for old in sorted(names.iterdir(), key=lambda one: one.stat().st_mtime)[:-MOST_NAMES]:
        old.unlink(missing_ok=True)


def run_of(names: Path, name: str) -> str:
    """The run of a session that some editor has begun by this name; else the name itself is a run's."""
    try:
        return (names / name).read_text() if name.isalnum() else name
    except OSError:
        return name


def names_of(names: Path) -> dict[str, str]:
    """Runs to names."""
    try:
        return {one.read_text(): one.name for one in names.iterdir()}
    except OSError:
        return {}
