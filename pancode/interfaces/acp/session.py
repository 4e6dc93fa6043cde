"""One session of an editor: starts and follows the session, sends messages, asks the user, and cancels."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from node_agent.wire.clock import Clock, Ids
from pancode.conversation.model import Turn
from pancode.interfaces.acp.updates import (
    UpdateReader,
    card_of,
    format_ending,
    make_chunk,
    make_permission_request,
)
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.retry import NEEDS_YES, post_work
from pancode.interfaces.client.session import MISSED, OVER, Happening, SessionActs, SessionFollower, in_turn
from pancode.kernel.errors import ApiError, PancodeError, UsageError
from pancode.kernel.formatting import reveal_invisible
from pancode.kernel.jsonrpc import JsonRpcLines

Json = dict[str, Any]
LOOK_S = 0.5
"""Seconds between two checks whether a cancel request has arrived."""
CANCEL_MS = 15_000
"""The longest time from a cancel to the editor's answer, even if the node has not received it yet."""
_STOPS = {
    "end_turn": "end_turn",
    "cancelled": "cancelled",
    "refusal": "refusal",
    "limit": "max_turn_requests",
}
COMMANDS = {
    "rest": "suspend the session: its node becomes free, and its change can be landed",
    "end": "end the session; its changes are kept",
}


class EditorLink:
    """The connection to the editor: sends updates, and asks the user with cards."""

    def __init__(self, lines: JsonRpcLines) -> None:
        self._lines, self._numbers = lines, itertools.count(1)
        self._cards: dict[int, tuple[list[str], Callable[[str | None], None]]] = {}

    def update(self, session: str, update: Json) -> None:
        """Show an update of this session."""
        self._lines.send({"method": "session/update", "params": {"sessionId": session, "update": update}})

    def ask(self, session: str, params: Json, then: Callable[[str | None], None]) -> int:
        """Show a card with options and return the card's number. `then` gets the chosen option, or None."""
        number = next(self._numbers)
        self._cards[number] = [one["optionId"] for one in params["options"]], then
        request = {"sessionId": session, **params}
        self._lines.send({"id": number, "method": "session/request_permission", "params": request})
        return number

    def withdraw(self, number: int) -> None:
        """Remove the card because it needs no answer any more; its `then` is not called."""
        if self._cards.pop(number, None) is not None:
            self._lines.send({"method": "$/cancel_request", "params": {"requestId": number}})

    def take_decision(self, message: Json) -> None:
        """Take the editor's answer to a card."""
        number, result = message.get("id"), message.get("result")
        card = self._cards.pop(number, None) if isinstance(number, int) else None
        if card is None:
            return
        options, then = card
        match result:
            case {"outcome": {"outcome": "selected", "optionId": str(option)}} if option in options:
                chosen: str | None = option
            case _:
                chosen = None
        threading.Thread(target=then, args=(chosen,), daemon=True).start()


@dataclass(frozen=True, slots=True)
class EditorFleet:
    """What an editor's sessions share. `client(True)`: API client that starts a stopped fleet. `begins`:
    options of new sessions. `names`: a folder with a file per session, by the editor's name: its run."""

    link: EditorLink
    client: Callable[[bool], Client]
    ids: Ids
    clock: Clock
    begins: Json
    names: Path
    is_remote: bool = False


class EditorSession:
    """An editor's session. `name`: the editor's name for the session; `folder`: the editor's folder; `cwd`:
    that folder as the coordinator sees it; `run`: any run of the session, empty before the first message."""

    def __init__(self, fleet: EditorFleet, name: str, folder: str, by: str, run: str = "") -> None:
        self._fleet, self.name, self.folder, self._by = fleet, name, folder, by
        self.wants: Json = {}
        """The options chosen in the editor for a session that has not begun."""
        self.shape: Json = {}
        self.cwd: str | None = folder
        self._state = threading.Condition()
        self._client = fleet.client(True)
        self._acts = SessionActs(self._client, fleet.ids, by, run)
        looks = fleet.client(False)
        self._follower = SessionFollower(self._think, looks, self._take_update, wanted=lambda: not self._over)
        self._reader = UpdateReader(folder, by)
        self._broken: Exception | None = None
        self._over = False
        self._cancelled = threading.Event()
        self._waits = False
        """Whether a prompt of this editor is waiting for the end of its turn; that prompt then handles a
        cancel itself."""
        self._card: tuple[int, str] | None = None
        """The shown card: its number, and the id of the tool call that was created for it, if any."""
        self._asked: Json = {}
        self._question: Json = {}
        """The question that ended the last answer; the next message answers it."""

    @property
    def run(self) -> str:
        """Return the newest known run of the session; empty before the first message."""
        return self._acts.run

    # ---- requests from the editor
    def prompt(self, text: str) -> Json:
        """Send a message, wait for its turn to end, return the result of `session/prompt`. PancodeError."""
        command = text.strip().removeprefix("/") if text.startswith("/") else ""
        with self._state:
            if command in COMMANDS:
                return self._run_command(command)
            # the stream's thread waits for this lock, so that the editor does not see its own message again
            message = self._send_message(text)
            self._reader.mine.add(message)
            self._follow()
            return self._await_end(message)

    def prompted(self) -> None:
        """Note that a prompt begins: a cancel that came earlier does not apply to it."""
        self._cancelled.clear()
        self._waits = True

    def answered(self) -> None:
        """Note that the prompt has been answered."""
        self._waits = False

    def cancel(self) -> None:
        """End the turn that is shown, whether this prompt, a terminal or another window began it."""
        self._cancelled.set()
        if not self._waits and self.run and self.shape.get("state") in ("works", "asks"):
            threading.Thread(target=self._cancel_shown, args=(self._reader.talk.turn,), daemon=True).start()

    def _cancel_shown(self, turn: Turn | None) -> None:
        """Cancel exactly this turn, by its number, so that a late cancel never ends the next turn."""
        try:
            in_turn(partial(self._acts.cancel, turn))
        except PancodeError as refused:
            self._think(f"could not cancel; the turn continues: {refused.words}")

    def replay(self) -> None:
        """Show the whole conversation so far, then follow the session. Raises PancodeError."""
        with self._state:
            self._follow()
            while not self.shape and self._broken is None and not self._over:
                self._state.wait(LOOK_S)
            self._unless_broken()

    def leave(self) -> None:
        """Stop showing updates and cards: the editor has loaded this session again as a new object."""
        with self._state:
            self._ask({})
            self._over = True
            self._state.notify_all()

    # ---- messages
    def _send_message(self, text: str) -> tuple[str, int]:
        """Send the message; return the run that got it and the message's number in that run."""
        if not self.run:
            self._acts.run = str(self._begin_session(text)["run"])
            store_run(self._fleet.names, self.name, self.run)
            return self.run, 0
        question, self._question = self._question, {}
        if question and question == self._asked:
            return str(self._acts.decide(question, "words", text)["run"]), 0
        done = self._acts.say(text)
        return str(done["run"]), int(done["number"])

    def _begin_session(self, text: str) -> Json:
        """Begin the first interactive run; first ask for the approval and the tests that it needs."""
        where = {} if self.cwd is None else {"cwd": self.cwd}
        chosen = {
            name: value for name, value in {**self._fleet.begins, **self.wants}.items() if value is not None
        }
        body: Json = {"task": text, **chosen, **where, "by": self._by}
        begun: Json = post_work(self._think, self._client, body, self._acts.begin, self._ask_consent)
        for warning in begun["warnings"]:
            self._think(f"warning: {warning}")
        self._think(f"session {begun['run']}: agent {begun['agent']}")
        return begun

    def _ask_consent(self, refused: ApiError) -> bool:
        """Ask the user to approve this dispatch; return whether the user does."""
        if refused.code != NEEDS_YES:
            return False
        answers: queue.Queue[str | None] = queue.Queue()
        question = {"run": self.name, "kind": "start", "words": str(refused)}
        number = self._fleet.link.ask(self.name, make_permission_request(question, None), answers.put)
        while not self._cancelled.is_set():
            try:
                return answers.get(timeout=LOOK_S) == "once"
            except queue.Empty:
                continue
        self._fleet.link.withdraw(number)
        return False

    # ---- the end of a turn
    def _await_end(self, message: tuple[str, int]) -> Json:
        patience_ms = 0
        while True:
            turn = next((one for one in self._reader.talk.ended if one.has(*message)), None)
            if turn is not None:
                return self._make_result(turn)
            self._unless_broken()
            if self.shape and any(one["run"] == message[0] for one in self.shape["interactive_runs"]):
                if self._asked.get("kind") == "question":
                    return self._asks_for_message()
                if self.shape["state"] in OVER and not self.shape["goes_on"]:
                    return self._handle_missed()
            if self._cancelled.is_set():
                if not patience_ms:
                    # Cancel ends a running turn; an interactive run that has not begun is ended, so that it
                    # never begins.
                    if not in_turn(partial(self._acts.cancel, self._reader.talk.turn)):
                        self._acts.end()
                    patience_ms = self._fleet.clock.mono_ms() + CANCEL_MS
                elif self._fleet.clock.mono_ms() >= patience_ms:
                    return {"stopReason": "cancelled"}
            self._state.wait(LOOK_S)

    def _make_result(self, turn: Turn) -> Json:
        if turn.stop not in _STOPS:
            raise PancodeError(
                f"the turn ended: {turn.stop}", why=turn.why, fix=f"pancode why {turn.run}", code="turn"
            )
        if turn.why:
            self._think(f"{turn.why}")
        if below := format_ending(turn, self.shape):
            self._show(make_chunk("agent_thought_chunk", below))
        return {"stopReason": _STOPS[turn.stop]}

    def _handle_missed(self) -> Json:
        """Return or raise the result for a message that no turn took or will take unless more are sent."""
        if self._cancelled.is_set():
            return {"stopReason": "cancelled"}
        state, run = self.shape["state"], self.shape["run"]
        what = MISSED
        if state == "turn lost":
            what = (
                "the turn is lost: its program exited in the middle of it; send the message again if needed"
            )
        raise PancodeError(what, why=self.shape["reason"], fix=f"pancode why {run}", code="no_answer")

    def _asks_for_message(self) -> Json:
        """End the turn with the agent's question; the user's next message answers it."""
        self._question = self._asked
        listed = "".join(f"\n{number}. {one}" for number, one in enumerate(self._asked["choices"], start=1))
        self._show(
            make_chunk("agent_message_chunk", reveal_invisible(f"\n\n{self._asked['words']}{listed}\n"))
        )
        return {"stopReason": "end_turn"}

    def _run_command(self, command: str) -> Json:
        if not self.run:
            raise UsageError("this session has not started", fix="send a message first")
        in_turn(self._acts.end if command == "end" else self._acts.rest)
        self._follow()
        self.shape = {**self._acts.shape()}
        while self.shape["state"] not in OVER and not self._cancelled.is_set():
            self._unless_broken()
            self._state.wait(LOOK_S)
        run, state = self.shape["run"], self.shape["state"]
        look, land = f"pancode diff {run}", f"pancode land {run}"
        self._think(f"{state}. Review: `{look}`. Apply it to your files: `{land}`.")
        return {"stopReason": "end_turn"}

    # ---- the stream
    def _follow(self) -> None:
        self._broken = None
        self._follower.follow(self.run)

    def _take_update(self, happened: Happening) -> None:
        kind, data = happened
        with self._state:
            if self._over:
                return
            if kind == "broken":
                self._broken = data
            elif kind == "log":
                for update in self._reader.feed(*data):
                    self._show(update)
            elif kind == "session":
                self.shape, self._acts.run = data, data["run"]
                if data["project"] and not self._fleet.is_remote:
                    self._reader.folder = data["project"]
                if (data["asks"] or {}) != self._asked:
                    self._ask(data["asks"] or {})
            self._state.notify_all()

    def _ask(self, question: Json) -> None:
        """Show a card for the current question; remove the previous card, which needs no answer."""
        if self._card is not None:
            number, own = self._card
            self._fleet.link.withdraw(number)
            self._card = None
            if own:
                update = {"sessionUpdate": "tool_call_update", "toolCallId": own, "status": "completed"}
                self._show(update)
        self._asked = question
        if question and question["kind"] != "question":
            call = self._reader.call
            number = self._fleet.link.ask(
                self.name, make_permission_request(question, call), partial(self._send_answer, question)
            )
            self._card = number, "" if question["kind"] == "call" and call else card_of(question, call)

    def _send_answer(self, question: Json, option: str | None) -> None:
        """Send the user's choice as the answer to exactly the question that the card shows."""
        if option is None:
            # if cancelled, the editor closed the card itself, because the turn ends
            if not self._cancelled.is_set():
                self._think(f"nobody has answered; it still waits: {question['command']}")
            return
        try:
            self._acts.decide(question, "always" if option == "run" else option)
        except PancodeError as refused:
            self._think(
                f"your answer was not accepted: {refused.words}. In a terminal: {question['command']}"
            )
            with self._state:
                if question == self._asked:
                    self._card = None
                    self._ask(question)

    # ---- output
    def _show(self, update: Json) -> None:
        if not self._over:
            self._fleet.link.update(self.name, update)

    def _think(self, text: str) -> None:
        """Show a line from PanCode itself, separate from the agent's answer."""
        self._show(make_chunk("agent_thought_chunk", f"{reveal_invisible(text)}\n"))

    def _unless_broken(self) -> None:
        if self._over:
            raise PancodeError(
                "this session was loaded again; its turn continues in the newly loaded session", code="left"
            )
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken


MOST_NAMES = 1_000


def store_run(names: Path, name: str, run: str) -> None:
    """Store the run under the editor's name for the session, which the editor uses after a restart."""
    names.mkdir(mode=0o700, parents=True, exist_ok=True)
    (names / name).write_text(run)
    for old in sorted(names.iterdir(), key=lambda one: one.stat().st_mtime)[:-MOST_NAMES]:
        old.unlink(missing_ok=True)


def run_of(names: Path, name: str) -> str:
    """Return the run of the session with this editor's name; a name that is not stored is the run's id."""
    try:
        return (names / name).read_text() if name.isalnum() else name
    except OSError:
        return name


def names_of(names: Path) -> dict[str, str]:
    """Return the editor's names of the stored sessions, by run id."""
    try:
        return {one.read_text(): one.name for one in names.iterdir()}
    except OSError:
        return {}
