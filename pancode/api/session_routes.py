"""Routes of sessions: begin one, words, its turn, its end, and the stream that every face reads."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from node_agent.wire.order import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.access.rights import ANSWERS, DISPATCHES, TELLS
from pancode.agents.options import MOST_MS
from pancode.agents.request import DispatchRequest
from pancode.api.context import ApiContext
from pancode.api.document.answers import (
    CheckpointsShape,
    ContextShape,
    DecompositionsAnswer,
    DryRunAnswer,
    EventStream,
    QueuedAnswer,
    SaidAnswer,
    SessionsAnswer,
    SessionShape,
    SessionVerdictShape,
    TasksShape,
)
from pancode.api.problems import body_of, problem_of
from pancode.api.request.bodies import ActBody, By, CallerSettings, TellBody, WorkBody
from pancode.api.routing import ApiCall, Verb
from pancode.api.streaming import LOOK_S, QUIET_S, event, sse
from pancode.code.git.rehearsal_ground import rehearsal_ground
from pancode.control.paging import MOST_ROWS
from pancode.core.states import SessionState
from pancode.core.values import replace
from pancode.dispatch.report import queued, report
from pancode.runs.workspaces import in_workspace
from pancode.sessions import checkpoints
from pancode.sessions.context import context as window_of
from pancode.sessions.receipts import verify
from pancode.sessions.rehearsals import as_rehearsal, decompositions, keep
from pancode.sessions.session import sessions, show, tasks
from pancode.sessions.stream import SessionPlace, place_in, read, read_on
from pancode.sessions.terms import set_terms
from pancode.sessions.words import begin, end, judge, lands, say, turn

AT_ONCE_MS, MOST_ROUNDS = 1, 20
"""Left alone, a sitting rests behind its turn, and there are so many of them."""
MOST_TOLD = 16_000
Duration = Annotated[int | None, Field(ge=1, le=MOST_MS)]


class SessionBody(WorkBody, CallerSettings):
    """The first sitting, as a dispatch; `task` has the words of turn 1. Times in milliseconds.

    `idle_ms`: it rests after so long without words; `turn_ms`: a turn of it may be so long.
    """

    by: By = "api"
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    idle_ms: Duration = None
    turn_ms: Duration = None
    on_cap: Literal["rest", "ask"] | None = None
    """Where its cap cuts a turn: it rests, or a person is asked. None: as the settings say."""
    until_verified: bool = False
    """It rests after each turn, and goes on by itself until its gates pass or its ceiling is reached."""
    yes: bool = False
    """A person has said yes to this very dispatch."""
    dry_run: bool = False
    """Only judge what would begin, also without words."""
    rehearses: Annotated[str, Field(max_length=100)] = ""
    """A request of `GET /v1/models/decompositions`, which is its task: `model` takes it apart as Panos, over
    files of its own, and nothing that it asks of the fleet is carried out."""

    def request(self) -> DispatchRequest:
        turns = {"idle_ms": AT_ONCE_MS if self.until_verified else self.idle_ms, "turn_ms": self.turn_ms}
        return replace(
            self.asked(self.by),
            cwd=self.cwd,
            confirmed=self.yes,
            preset=self.preset or "",
            on_cap=self.on_cap or "",
            rounds=MOST_ROUNDS if self.until_verified else 0,
            rehearses=self.rehearses,
            turns={name: ms for name, ms in turns.items() if ms is not None},
        )


class TurnBody(ActBody):
    """`cancel`: the turn at work ends. `rest`: the sitting ends behind it.

    `turn`: only the turn with this number is cancelled; without it, the one at work.
    """

    what: Literal["cancel", "rest"]
    turn: Annotated[int, Field(ge=1)] | None = None


class TermsBody(ActBody):
    """The terms of its next sitting; what is left out stays. `yes`: a person agrees to more freedom.

    `program_mode`: of a program of a node owner's choice, by its own name; empty: the one it begins in.
    """

    mode: Mode | None = None
    safety: Safety | None = None
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    reasoning: Reasoning | None = None
    program_mode: Annotated[str, Field(max_length=100)] | None = None
    yes: bool = False

    @property
    def change(self) -> dict[str, Any]:
        named = {
            name: getattr(self, name) for name in ("mode", "safety", "model", "reasoning", "program_mode")
        }
        return {name: value for name, value in named.items() if value is not None}


class CheckpointBody(ActBody):
    """`name` null: the next number."""

    name: Annotated[str, Field(max_length=200)] | None = None


class RestoreBody(ActBody):
    """`told`: the conversation until then, for an agent that does not remember it."""

    name: Annotated[str, Field(max_length=200)]
    told: Annotated[str, Field(max_length=MOST_TOLD)] = ""


def _begin(context: ApiContext, call: ApiCall) -> Any:
    body: SessionBody = call.body
    around = context.coordinator.around(dict(body.settings.items()), body.preset)
    request = body.request()
    if body.rehearses:
        ground = Path(str(context.facts["home"]), "rehearsal", "shop")
        request = as_rehearsal(request, partial(rehearsal_ground, ground))
    if call.inside is None:  # as in a dispatch
        request = in_workspace(context.core, around, request)
    if body.dry_run:
        judged, chosen = judge(context.core, around, request)
        return {**report(judged), "chosen": chosen}
    begun = begin(context.core, around, request)
    if body.rehearses:
        keep(context.core, request, begun.run.id)
    return queued(begun)


def _decompositions(context: ApiContext, call: ApiCall) -> Any:
    return {"models": decompositions(context.core, call.query.get("model"))}


def _sessions(context: ApiContext, call: ApiCall) -> Any:
    return {"sessions": sessions(context.core, call.number("limit", 20, MOST_ROWS))}


def _show(context: ApiContext, call: ApiCall) -> Any:
    return show(context.core, call.path["run"])


def _lands(context: ApiContext, call: ApiCall) -> bool:
    return lands(context.core, call.path["run"])


def _words(context: ApiContext, call: ApiCall) -> Any:
    body: TellBody = call.body
    token = None if call.visitor is None else call.visitor.token
    around = context.coordinator.around({})
    done = say(context.core, around, call.path["run"], body.text, body.by, token)
    run, begun = done.run, [] if done.begun is None else list(done.begun.warnings)
    return {
        "run": run.id,
        "state": run.state.value,
        "how": done.how,
        "number": done.number,
        "warnings": begun,
    }


def _turn(context: ApiContext, call: ApiCall) -> Any:
    body: TurnBody = call.body
    return show(context.core, turn(context.core, call.path["run"], body.what, body.by, body.turn).id)


def _terms(context: ApiContext, call: ApiCall) -> Any:
    body: TermsBody = call.body
    around = context.coordinator.around({})
    run = set_terms(context.core, around, call.path["run"], body.change, body.by, body.yes)
    return show(context.core, run.id)


def _end(context: ApiContext, call: ApiCall) -> Any:
    body: ActBody = call.body
    return show(context.core, end(context.core, call.path["run"], body.by).id)


def _verify(context: ApiContext, call: ApiCall) -> Any:
    return verify(context.core, call.path["run"], context.coordinator.streams)


def _points(context: ApiContext, call: ApiCall) -> Any:
    return checkpoints.show(context.core, call.path["run"])


def _point(context: ApiContext, call: ApiCall) -> Any:
    body: CheckpointBody = call.body
    return checkpoints.make(context.core, call.path["run"], body.name or "", body.by)


def _restore(context: ApiContext, call: ApiCall) -> Any:
    body: RestoreBody = call.body
    return checkpoints.restore(context.core, call.path["run"], body.name, body.told, body.by)


def _tasks(context: ApiContext, call: ApiCall) -> Any:
    return tasks(context.core, call.path["run"])


def _context(context: ApiContext, call: ApiCall) -> Any:
    place = context.coordinator
    return window_of(context.core, place.around({}), place.streams, call.path["run"])


def _stream(context: ApiContext, call: ApiCall) -> Any:
    place = place_in(context.core, call.path["run"], call.query, call.last_event)
    return sse(_events(context, place))


async def _events(context: ApiContext, place: SessionPlace) -> AsyncIterator[str]:
    """`log` with bytes, their run and the number of the next one; `session` whenever that has changed; `end`.

    Whoever comes back with the last number misses and repeats nothing. `end` comes when a session has ended
    and all of it was told. Bytes of a state stand before it: it is looked at first, and told last. The ledger
    is asked when the bell has rung, and each `QUIET_S`; output that has grown is read without it.
    """
    core, streams = context.core, context.coordinator.streams
    last: SessionShape | None = None
    looked, quiet = -1, 0.0
    with context.bell.listening() as ear:
        while not context.closing.is_set():
            ear.run = place.run
            ear.forget()
            rung = context.bell.count
            asks, looked = rung != looked, rung
            look = partial(read, core, streams) if asks else partial(read_on, streams)
            try:
                shape = await run_in_threadpool(show, core, place.run) if asks else last
                piece = await run_in_threadpool(look, place)
                while piece.data or piece.more:
                    place = piece.place
                    ear.run = place.run
                    if piece.data:
                        quiet = 0.0
                        yield _log(piece.data, place)
                    piece = await run_in_threadpool(look, place)
                place = piece.place
            except Exception as error:
                yield event("problem", body_of(problem_of(error), 500))
                return
            if shape != last:
                last, quiet = shape, 0.0
                yield event("session", shape)
            if piece.end and shape is not None and shape["state"] == SessionState.ENDED:
                yield event("end", {"run": place.run, "next": place.offset})
                return
            if quiet >= QUIET_S:
                looked, quiet = -1, 0.0  # and look, whatever has rung
                yield ": still here\n\n"
            quiet += LOOK_S
            await ear.wait(LOOK_S)


def _log(data: bytes, place: SessionPlace) -> str:
    shown = base64.b64encode(data).decode()
    told = {"run": place.run, "attempt": place.attempt, "next": place.offset, "b64": shown}
    return event("log", told, place.mark)


SESSION_VERBS: tuple[Verb, ...] = (
    Verb(
        "POST",
        "/v1/sessions",
        _begin,
        SessionBody,
        pokes=True,
        status=201,
        right=DISPATCHES,
        answers=QueuedAnswer | DryRunAnswer,
    ),
    Verb(
        "GET",
        "/v1/models/decompositions",
        _decompositions,
        query=("model",),
        answers=DecompositionsAnswer,
    ),
    Verb("GET", "/v1/sessions", _sessions, query=("limit",), answers=SessionsAnswer),
    Verb("GET", "/v1/sessions/{run}", _show, answers=SessionShape),
    Verb(
        "POST",
        "/v1/sessions/{run}/words",
        _words,
        TellBody,
        pokes=True,
        right=ANSWERS,
        lands=_lands,
        answers=SaidAnswer,
    ),
    Verb("POST", "/v1/sessions/{run}/turn", _turn, TurnBody, pokes=True, right=TELLS, answers=SessionShape),
    Verb(
        "POST",
        "/v1/sessions/{run}/terms",
        _terms,
        TermsBody,
        pokes=True,
        right=DISPATCHES,
        answers=SessionShape,
    ),
    Verb("POST", "/v1/sessions/{run}/end", _end, ActBody, pokes=True, right=TELLS, answers=SessionShape),
    Verb("GET", "/v1/sessions/{run}/verify", _verify, answers=SessionVerdictShape),
    Verb("GET", "/v1/sessions/{run}/checkpoints", _points, answers=CheckpointsShape),
    Verb(
        "POST",
        "/v1/sessions/{run}/checkpoints",
        _point,
        CheckpointBody,
        status=201,
        right=TELLS,
        answers=CheckpointsShape,
    ),
    Verb("POST", "/v1/sessions/{run}/restore", _restore, RestoreBody, right=TELLS, answers=CheckpointsShape),
    Verb("GET", "/v1/sessions/{run}/tasks", _tasks, answers=TasksShape),
    Verb("GET", "/v1/sessions/{run}/context", _context, answers=ContextShape),
    Verb("GET", "/v1/sessions/{run}/stream", _stream, query=("since", "attempt"), answers=EventStream),
)
