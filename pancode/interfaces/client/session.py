"""An interface's connection to a session: sends the user's actions and follows the session's stream."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pancode.conversation.answers import SESSION, SessionShape
from pancode.interfaces.client.client import (
    ANSWER_S,
    LAND_S,
    Client,
    LogPart,
    RepeatedPost,
    ServerEvent,
    path_of,
)
from pancode.interfaces.client.retry import Note, resume_stream
from pancode.kernel.errors import ApiError

if TYPE_CHECKING:
    from node_agent.wire.clock import Ids
    from pancode.conversation.model import Turn

Json = dict[str, Any]
OVER = ("rests", "turn lost", "ended")
"""The states of a session in which no program runs."""
WAITING = ("waits for you", "asks", *OVER)
"""The states in which nothing more happens until a user sends something."""
NO_TURN = "no_turn"
"""The coordinator's error code for a session whose program has already ended."""
MISSED = "no turn has taken this message yet; it is stored for the next turn"
Happening = tuple[str, Any]
"""(kind, data): `session` and the session's shape, `log` and (run, attempt, bytes, runtime), `end`, or
`broken` and the error. Other parts of an interface may put further kinds into the same queue."""


class SessionActs:
    """The user's requests about one session. `run`: the session's newest known run; `by`: the user."""

    def __init__(self, client: Client, ids: Ids, by: str, run: str) -> None:
        self._client, self._by, self.run = client, by, run
        self._words = RepeatedPost(lambda: ids.token(16))

    def begin(self, body: Json) -> Json:
        """Begin the session. The request may be resent after a lost answer; it begins only one session."""
        begun: Json = self._words.post(self._client, "/v1/sessions", body, lambda under_way: None)
        return begun

    def say(self, text: str) -> Json:
        """Send a message to the session; return the run that got it, its number there, and warnings. A
        message that is resent after a lost answer is not duplicated."""
        body = {"by": self._by, "text": text}
        done: Json = self._words.post(self._client, path_of("sessions", self.run, "words"), body)
        return done

    def arrived(self) -> None:
        """Note that a message whose answer was lost is in the stream; the same text is then a new message."""
        self._words.forget()

    def cancel(self, turn: Turn | None) -> None:
        """End the turn that the user sees. If that is None, or in an earlier run, end the current turn."""
        known = turn is not None and turn.run == self.run and turn.number > 0
        self._post("turn", {"what": "cancel", **({"turn": turn.number} if turn and known else {})})

    def rest(self) -> None:
        self._post("turn", {"what": "rest"})

    def end(self) -> None:
        self._post("end", {})

    def shape(self) -> SessionShape:
        """Return the session's current shape."""
        return self._client.get(SESSION.at(self.run))

    def decide(self, question: Mapping[str, Any], how: str, text: str = "") -> Json:
        """Answer exactly this question; return the run that has the answer. `how`: `yes`, `always` (also for
        the same rule in this run), `no`, or `words` (`text`); `no` takes a text only for a call."""
        body: Mapping[str, object]
        call = {} if question["call"] is None else {"call": question["call"]}
        if how == "words":
            verb, body = "answer", {"text": text}
        elif how == "no":
            verb, body = "deny", {**call, **({"text": text} if question["kind"] == "call" and text else {})}
        else:
            plan = {"plan": question["plan"]} if question.get("plan") else {}
            flags = {flag[2:].replace("-", "_"): True for flag in question.get("yes", ())}
            verb = "approve"
            body = {**call, **plan, **flags, "scope": "run" if how == "always" else "once"}
        path, wait_s = (
            path_of("runs", question["run"], verb),
            LAND_S if question["kind"] == "landing" else ANSWER_S,
        )
        done: Json = self._client.post(path, {"by": self._by, **body}, wait_s)
        return done

    def _post(self, what: str, body: Json) -> None:
        self._client.post(path_of("sessions", self.run, what), {"by": self._by, **body})


def in_turn(act: Callable[[], object]) -> bool:
    """Call `act`; return False if it was refused because the session's program has ended."""
    try:
        act()
    except ApiError as refused:
        if refused.code != NO_TURN:
            raise
        return False
    return True


Place = tuple[str, int]
"""An attempt, and an offset in its log; ("", 0) is the first byte of the newest attempt."""


def stored_log(client: Client, run: str, stream: str, place: Place = ("", 0)) -> Iterator[LogPart]:
    """Yield the stored bytes of a run's stream, piece by piece."""
    attempt, offset = place
    state = "more"
    while state == "more":
        part = client.log(run, stream, attempt, offset)
        attempt, offset, state = part.attempt, part.next, part.state
        yield part


def followed_log(
    note: Note,
    client: Client,
    run: str,
    stream: str,
    place: Place = ("", 0),
    wanted: Callable[[], bool] = lambda: True,
    *,
    follow: bool = True,
    shown: bool = False,
) -> Iterator[LogPart]:
    """Yield a run's stream, piece by piece, until it ends; after a cut, continue at the same byte. `follow`:
    also what is not stored yet. `shown`: the text that users read instead of the program's events."""

    def begin() -> Iterator[ServerEvent]:
        query = {"follow": follow, "shown": shown, "stream": stream}
        query |= {"attempt": place[0] or None, "offset": place[1]}
        return client.events("GET", path_of("runs", run, "log"), query=query, wanted=wanted)

    for event in resume_stream(note, run, begin, wanted):
        if event.kind == "attempt":
            place = event.data["attempt"], 0
        elif event.kind == "log":
            place = event.data["attempt"], event.data["next"]
            yield LogPart(base64.b64decode(event.data["b64"]), *place, "more")


class SessionFollower:
    """A thread that reports a session's stream; after a cut it continues at the next byte. `since`: the start
    as `RUN:BYTE`; empty: the beginning. `wanted`: when it returns False, the thread ends at the next line."""

    def __init__(
        self,
        note: Note,
        client: Client,
        notify: Callable[[Happening], object],
        since: str = "",
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._note, self._client, self._tell, self._wanted = note, client, notify, wanted
        self._since, self._attempt, self._runtime = since, "", ""
        self._follows = False

    def follow(self, run: str) -> None:
        """Follow the session of this run, unless it is already followed; nothing is reported twice."""
        if not self._follows:
            self._follows = True
            threading.Thread(target=self._listen, args=(run,), name=f"session {run}", daemon=True).start()

    def _listen(self, run: str) -> None:
        try:
            for event in resume_stream(self._note, run, lambda: self._begin(run), self._wanted):
                if event.kind == "log":
                    data = event.data
                    self._since, self._attempt = f"{data['run']}:{data['next']}", data["attempt"]
                    piece = base64.b64decode(data["b64"])
                    self._tell(("log", (data["run"], data["attempt"], piece, self._runtime)))
                else:
                    self._follows = event.kind != "end"
                    self._tell((event.kind, event.data))
        except Exception as error:  # report every failure; otherwise the receiver would wait forever
            self._follows = False
            self._tell(("broken", error))

    def _begin(self, run: str) -> Iterator[ServerEvent]:
        query = {"since": self._since or None, "attempt": self._attempt or None}
        self._runtime = self._runtime or self._client.get(path_of("sessions", run))["runtime"]
        path = path_of("sessions", run, "stream")
        return self._client.events("GET", path, query=query, wanted=self._wanted)
