"""What a person does in a session: says words, cancels a turn, lets it rest, ends it, answers a question."""

from __future__ import annotations

from typing import Any

from node_agent.wire.clock import Ids
from pancode.cli.face import who
from pancode.cli.sessions.stream import Turn
from pancode.client import Client, RepeatedPost, path_of


class SessionActs:
    """Requests about one session. `run`: the newest one of it that is known."""

    def __init__(self, client: Client, ids: Ids, run: str) -> None:
        self._client, self.run = client, run
        self._words = RepeatedPost(lambda: ids.token(16))

    def say(self, text: str) -> dict[str, Any]:
        """Words for the session: their run, their number there, warnings.

        Said again after an answer that was lost, they are not doubled.
        """
        path = path_of("sessions", self.run, "words")
        done: dict[str, Any] = self._words.post(self._client, path, {"by": who(), "text": text})
        return done

    def arrived(self) -> None:
        """The words whose answer was lost are in the stream: the same ones are new ones from now on."""
        self._words.forget()

    def cancel(self, turn: Turn | None) -> None:
        """End the turn that the person sees; None, or one of an earlier run: the one at work."""
        known = turn is not None and turn.run == self.run and turn.number > 0
        self._post("turn", {"what": "cancel", **({"turn": turn.number} if turn and known else {})})

    def rest(self) -> None:
        self._post("turn", {"what": "rest"})

    def end(self) -> None:
        self._post("end", {})

    def shape(self) -> dict[str, Any]:
        """The session as it is now."""
        told: dict[str, Any] = self._client.get(path_of("sessions", self.run))
        return told

    def answer(self, asks: dict[str, Any], text: str) -> None:
        """Words that answer this question."""
        self._client.post(path_of("runs", asks["run"], "answer"), {"by": who(), "text": text})

    def approve(self, asks: dict[str, Any], scope: str = "once") -> None:
        """A yes to this very question; `scope` run: and to the same rule in this run."""
        self._client.post(path_of("runs", asks["run"], "approve"), {**_named(asks), "scope": scope})

    def deny(self, asks: dict[str, Any], why: str = "") -> None:
        """A no to this very question; only a call takes words with it."""
        words = {"text": why} if asks["kind"] == "call" and why else {}
        self._client.post(path_of("runs", asks["run"], "deny"), {**_named(asks), **words})

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        return self._client.post(path_of("sessions", self.run, what), {"by": who(), **body})


def come_back(session: str, state: str) -> str:
    """What is said to who leaves."""
    goes_on = "has ended" if state == "ended" else "goes on"
    back = f"come back: pancode attach {session}   end it: pancode sessions end {session}"
    return f"{session} {goes_on}.  {back}"


def _named(asks: dict[str, Any]) -> dict[str, Any]:
    return {"by": who(), **({"call": asks["call"]} if asks["call"] is not None else {})}
