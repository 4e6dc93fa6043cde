"""Sessions in the simulation: users who talk with them, and the coordinator that continues by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pancode.interfaces.http.access.idempotency import RequestMark
from pancode.interfaces.http.routing import answer_once
from pancode.kernel.records import Action, ActionKind, Run
from pancode.runs import messages
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest
from pancode.sessions import service as words
from tests.simulation.flows import AROUND

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld

MOST_SESSIONS = 4
MODEL = "anthropic/claude-sonnet-4-5"


@dataclass(frozen=True)
class Said:
    """Words that somebody has typed, and the key with which a face sends them, again if need be."""

    session: str
    text: str
    by: str


@dataclass
class Talks:
    """What users have said. `taken`: the words whose face got an answer; `typed`: those that wait in one."""

    count: int = 0
    sessions: int = 0
    taken: set[str] = field(default_factory=set)
    typed: list[Said] = field(default_factory=list)

    def word(self) -> str:
        """Words that nobody has said before."""
        self.count += 1
        return f"word{self.count:04d}"


# -- what users do --------------------------------------------------------------------------------


def talk(w: SimWorld) -> None:
    """Open a session, or say something in one, or send what was typed when nobody answered."""
    r, talks = w.random, w.talks
    text, by = talks.word(), r.choice(("ana", "ben"))
    found = sessions(w)
    if not found or (talks.sessions < MOST_SESSIONS and r.random() < 0.15):
        talks.sessions += 1
        terms = {"idle_ms": r.choice((3_000, 20_000)), "turn_ms": r.choice((10_000, 60_000))}
        request = DispatchRequest(
            text, by, runtime="native", model=MODEL, workspace="none", told_only=True, turns=terms
        )
        if w.coordinator.ask(lambda core: words.begin_session(core, AROUND, request)):
            talks.taken.add(text)
        w.say(f"{by} opens a session with {text}: {'answered' if text in talks.taken else 'no answer'}")
        w.runs += [one for one in sessions(w) if one not in w.runs]
        return
    said = talks.typed.pop(0) if talks.typed and r.random() < 0.5 else Said(r.choice(found), text, by)
    for _ in range(r.choice((1, 1, 2))):
        send(w, said)


def send(w: SimWorld, said: Said) -> None:
    """As a face sends words, with their key: of two answers the second is that of the first."""
    mark = RequestMark("sim", said.text, "words", said.text)

    def verb(core: Core) -> None:
        context: Any = SimpleNamespace(core=core)
        answer_once(context, mark, 200, lambda: _said(core, said))

    done = w.coordinator.ask(verb)
    w.say(f"{said.by} says {said.text} in {said.session}: {'taken' if done else 'no answer, or refused'}")
    if done:
        w.talks.taken.add(said.text)
    elif said not in w.talks.typed:
        w.talks.typed.append(said)


def _said(core: Core, said: Said) -> str:
    return messages.send_message(core, AROUND, said.session, said.text, said.by).how


def hush(w: SimWorld) -> None:
    found = sessions(w)
    if not found:
        return
    session, what = w.random.choice(found), w.random.choice(("cancel", "cancel", "rest", "end"))
    w.say(f"{what} {session}")
    match what:
        case "cancel":
            w.coordinator.ask(lambda core: words.end_turn(core, session, "cancel", "sim"))
        case "rest":
            w.coordinator.ask(lambda core: words.end_turn(core, session, "rest", "sim"))
        case _:
            w.coordinator.ask(lambda core: words.end_session(core, session, "sim"))


def sessions(w: SimWorld) -> list[str]:
    """By their first runs, oldest first."""
    with w.coordinator.seen() as tx:
        runs = tx.find(Run, order="created_ms")
    return list(dict.fromkeys(run.session for run in runs if run.takes_turns))


# -- what the coordinator does ---------------------------------------------------------------------


def follow(w: SimWorld) -> None:
    """One round of the thread that begins the next interactive runs; it may die between any two calls."""
    core = w.coordinator.awake
    if core is None or not w.talks.sessions:
        return
    going = words.GoingOn(core, lambda callers, preset=None: AROUND)
    for run in due(w):
        w.coordinator.guarded(partial(going.do, run, lambda: False))
        if w.coordinator.core is not core:
            return


def due(w: SimWorld) -> list[str]:
    with w.coordinator.seen() as tx:
        found = [one for one in tx.find(Action) if one.kind is ActionKind.GO_ON]
    return list(dict.fromkeys(one.run for one in found))


def at_rest(w: SimWorld) -> bool:
    return not due(w)
