"""Routes of sessions: start one, send messages, control its turn, end it, and follow its output stream."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any, Literal, cast

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.conversation import answers as shapes
from pancode.interfaces.http.access.rights import ANSWERS, DISPATCHES, TELLS
from pancode.interfaces.http.bodies import ActBody, By, CallerSettings, TellBody, WorkBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.problems import body_of, problem_of
from pancode.interfaces.http.routing import ApiCall, EventStream, Verb
from pancode.interfaces.http.streams import LOOK_S, QUIET_S, PartsOfLog, format_event, make_event_stream
from pancode.kernel.declared import MOST_MS
from pancode.kernel.pages import MOST_ROWS
from pancode.kernel.states import SessionState
from pancode.kernel.values import replace
from pancode.runs.admission.dry_run import report_plan
from pancode.runs.admission.planning import complete_request
from pancode.runs.answers import DryRunAnswer, QueuedAnswer
from pancode.runs.dispatch import describe_queued
from pancode.runs.messages import may_land_next, send_message
from pancode.runs.request import DispatchRequest
from pancode.runs.views import get_run
from pancode.sessions import checkpoints
from pancode.sessions.context import get_context as window_of
from pancode.sessions.receipts import verify_session
from pancode.sessions.service import begin_session, end_session, end_turn, judge_session, newest_run
from pancode.sessions.session import get_session, list_sessions, list_tasks
from pancode.sessions.stream import SessionPlace, place_in, read_on, read_piece
from pancode.sessions.terms import set_terms

AT_ONCE_MS, MOST_ROUNDS = 1, 20
"""For a session without a user: each interactive run is suspended this many ms after its turn; at most so
many follow each other."""
Duration = Annotated[int | None, Field(ge=1, le=MOST_MS)]


class SessionBody(WorkBody, CallerSettings):
    """The first interactive run, as a dispatch; `task` is the message of turn 1. Times in milliseconds.

    `idle_ms`: time without a message after which it is suspended; `turn_ms`: the longest time of a turn.
    """

    by: By = "api"
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    idle_ms: Duration = None
    turn_ms: Duration = None
    on_cap: Literal["rest", "ask"] | None = None
    """What happens when an interactive run's budget cap ends a turn: suspend it or ask a user. None: as in
    the settings."""
    until_verified: bool = False
    """Suspend after each turn and continue automatically until the gates pass or the ceiling is reached."""
    yes: bool = False
    """A user has approved this dispatch."""
    dry_run: bool = False
    """Only preview what would start; a message is not required."""

    def request(self) -> DispatchRequest:
        turns = {"idle_ms": AT_ONCE_MS if self.until_verified else self.idle_ms, "turn_ms": self.turn_ms}
        return replace(
            self.asked(self.by),
            cwd=self.cwd,
            confirmed=self.yes,
            preset=self.preset or "",
            caller_settings=dict(self.settings.items()),
            on_cap=self.on_cap or "",
            rounds=MOST_ROUNDS if self.until_verified else 0,
            turns={name: ms for name, ms in turns.items() if ms is not None},
        )


class TurnBody(ActBody):
    """`cancel`: end the current turn. `rest`: suspend the interactive run after the current turn.

    `turn`: cancel only the turn with this number; if omitted, the current one.
    """

    what: Literal["cancel", "rest"]
    turn: Annotated[int, Field(ge=1)] | None = None


class TermsBody(ActBody):
    """The terms of the session's next interactive run; omitted ones stay. `yes` approves a higher level.

    `program_mode`: a mode of the agent program, by the program's own name; empty: its default.
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
    """`name`: the checkpoint's name; null: the next number."""

    name: Annotated[str, Field(max_length=200)] | None = None


class RestoreBody(ActBody):
    """`name`: the checkpoint's name."""

    name: Annotated[str, Field(max_length=200)]


@Verb(shapes.CHAT, SessionBody, "chat", pokes=True, status=201, right=DISPATCHES)
def _begin(context: ApiContext, call: ApiCall[SessionBody]) -> QueuedAnswer | DryRunAnswer:
    """Start a session: a chain of interactive runs."""
    body = call.body
    around = context.coordinator.around(dict(body.settings.items()), body.preset)
    request = complete_request(context.core, around, body.request())
    if body.dry_run:
        judged, chosen = judge_session(context.core, around, request)
        return cast("QueuedAnswer | DryRunAnswer", {**report_plan(judged), "chosen": chosen})
    return describe_queued(begin_session(context.core, around, request))


@Verb(shapes.SESSIONS, command="sessions ls", query=("limit",))
def _sessions(context: ApiContext, call: ApiCall) -> shapes.SessionsAnswer:
    """List the newest sessions."""
    return {"sessions": list_sessions(context.core, call.number("limit", 20, MOST_ROWS))}


@Verb(shapes.SESSION, command="sessions show")
def _show(context: ApiContext, call: ApiCall) -> shapes.SessionShape:
    """Return a session, named by any of its runs."""
    return get_session(context.core, call.path["run"])


def _is_landing(context: ApiContext, call: ApiCall) -> bool:
    return may_land_next(context.core, newest_run(context.core, call.path["run"]))


@Verb(shapes.WORDS, TellBody, "sessions attach", pokes=True, right=ANSWERS, lands=_is_landing)
def _send_message(context: ApiContext, call: ApiCall[TellBody]) -> shapes.SaidAnswer:
    """Send a user's message to a session."""
    body = call.body
    token = None if call.visitor is None else call.visitor.token
    around = context.coordinator.around({})
    newest = newest_run(context.core, call.path["run"])
    done = send_message(context.core, around, newest.id, body.text, body.by, token)
    run, begun = done.run, [] if done.begun is None else list(done.begun.warnings)
    return {
        "run": run.id,
        "state": run.state.value,
        "how": done.how,
        "number": done.number,
        "warnings": begun,
    }


@Verb(shapes.TURN, TurnBody, "sessions rest", pokes=True, right=TELLS)
def _turn(context: ApiContext, call: ApiCall[TurnBody]) -> shapes.SessionShape:
    """Cancel a session's current turn, or suspend the session after that turn."""
    return get_session(
        context.core,
        end_turn(context.core, call.path["run"], call.body.what, call.body.by, call.body.turn).id,
    )


@Verb(shapes.TERMS, TermsBody, "sessions set", pokes=True, right=DISPATCHES)
def _change_terms(context: ApiContext, call: ApiCall[TermsBody]) -> shapes.SessionShape:
    """Set a session's mode, level and model from its next interactive run on."""
    around = context.coordinator.around({})
    run = set_terms(context.core, around, call.path["run"], call.body.change, call.body.by, call.body.yes)
    return get_session(context.core, run.id)


@Verb(shapes.END, ActBody, "sessions end", pokes=True, right=TELLS)
def _end(context: ApiContext, call: ApiCall[ActBody]) -> shapes.SessionShape:
    """End a session; a later message starts its next run."""
    return get_session(context.core, end_session(context.core, call.path["run"], call.body.by).id)


@Verb(shapes.SESSION_VERDICT, command="receipt verify")
def _verify(context: ApiContext, call: ApiCall) -> shapes.SessionVerdictShape:
    """Verify that a session's receipts are valid and form a chain."""
    return verify_session(context.core, call.path["run"], context.coordinator.streams)


@Verb(shapes.CHECKPOINTS, command="sessions checkpoint")
def _points(context: ApiContext, call: ApiCall) -> shapes.CheckpointsShape:
    """List a session's checkpoints."""
    return checkpoints.list_checkpoints(context.core, call.path["run"])


@Verb(shapes.CHECKPOINT, CheckpointBody, "sessions checkpoint", status=201, right=TELLS)
def _name_point(context: ApiContext, call: ApiCall[CheckpointBody]) -> shapes.CheckpointsShape:
    """Create a checkpoint at a suspended session's newest interactive run."""
    body = call.body
    return checkpoints.make_checkpoint(context.core, call.path["run"], body.name or "", body.by)


@Verb(shapes.RESTORE, RestoreBody, "sessions restore", right=TELLS)
def _restore(context: ApiContext, call: ApiCall[RestoreBody]) -> shapes.CheckpointsShape:
    """Make a session's next message continue from a checkpoint."""
    return checkpoints.restore_checkpoint(
        context.core, context.coordinator.streams, call.path["run"], call.body.name, call.body.by
    )


@Verb(shapes.TASKS, command="sessions show")
def _tasks(context: ApiContext, call: ApiCall) -> shapes.TasksShape:
    """List the runs that a session has dispatched."""
    return list_tasks(context.core, call.path["run"])


@Verb(shapes.CONTEXT, command="sessions show")
def _context(context: ApiContext, call: ApiCall) -> shapes.ContextShape:
    """Return the use of a session's context window, by category."""
    place = context.coordinator
    return window_of(context.core, place.around({}), place.streams, call.path["run"])


@Verb("GET /v1/sessions/{run}/stream", command="sessions attach", query=("since", "attempt", "parts"))
def _stream(context: ApiContext, call: ApiCall) -> EventStream:
    """Stream a session's output from `RUN:BYTE` on, and the changes of its state. `parts`: what was said,
    thought and done, instead of bytes."""
    place = place_in(context.core, call.path["run"], call.query, call.last_event)
    tell = (
        partial(format_parts, PartsOfLog(place.run, get_run(context.core, place.run).runtime))
        if call.flag("parts")
        else _format_log
    )
    return make_event_stream(_yield_events(context, place, tell))


def format_parts(reads: PartsOfLog, data: bytes, place: SessionPlace) -> str:
    """Return the event with the parts in these bytes."""
    parts, behind = reads.read(place.run, place.attempt, data)
    place = replace(place, offset=place.offset - behind)
    shape = {"run": place.run, "attempt": place.attempt, "next": place.offset, "parts": parts}
    return format_event("parts", shape, place.mark)


async def _yield_events(
    context: ApiContext, place: SessionPlace, tell: Callable[[bytes, SessionPlace], str] | None = None
) -> AsyncIterator[str]:
    """Yield events: `log` (bytes, their run, the next byte's offset), `session` (a changed state), `end`.

    A client that reconnects with the last offset misses and repeats nothing. `end` comes when a session has
    ended and all was sent. Output precedes the state it belongs to: the state is read first and sent last.
    The ledger is read after each notification (`bell`) and every `QUIET_S`, not for new output.
    """
    core, streams, tell = context.core, context.coordinator.streams, tell or _format_log
    last: shapes.SessionShape | None = None
    looked, quiet = -1, 0.0
    with context.bell.listening() as ear:
        while not context.closing.is_set():
            ear.run = place.run
            ear.forget()
            rung = context.bell.count
            changed, looked = rung != looked, rung
            look = partial(read_piece, core, streams) if changed else partial(read_on, streams)
            try:
                shape = await run_in_threadpool(get_session, core, place.run) if changed else last
                piece = await run_in_threadpool(look, place)
                while piece.data or piece.more:
                    place = piece.place
                    ear.run = place.run
                    if piece.data:
                        quiet = 0.0
                        yield tell(piece.data, place)
                    piece = await run_in_threadpool(look, place)
                place = piece.place
            except Exception as error:
                yield format_event("problem", body_of(problem_of(error), 500))
                return
            if shape != last:
                last, quiet = shape, 0.0
                yield format_event("session", shape)
            if piece.end and shape is not None and shape["state"] == SessionState.ENDED:
                yield format_event("end", {"run": place.run, "next": place.offset})
                return
            if quiet >= QUIET_S:
                # Read the ledger in the next iteration, whatever the bell's count is.
                looked, quiet = -1, 0.0
            quiet += LOOK_S
            await ear.wait(LOOK_S)


def _format_log(data: bytes, place: SessionPlace) -> str:
    shown = base64.b64encode(data).decode()
    shape = {"run": place.run, "attempt": place.attempt, "next": place.offset, "b64": shown}
    return format_event("log", shape, place.mark)
