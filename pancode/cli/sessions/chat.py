"""`pancode chat` and `pancode attach`: talk with an agent on any machine, leave, and come back."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument

from node_agent.wire.clock import SystemIds
from pancode.cli.commands import Commands
from pancode.cli.face import Face, aside, folder_here, who
from pancode.cli.params import Json, Run, option
from pancode.cli.runs import options
from pancode.cli.runs.dispatch import of_caller, post_agreed
from pancode.cli.sessions.talk import ChatLoop, come_back, read_line
from pancode.cli.terminal import safe, safe_block
from pancode.client import Client, RepeatedPost, path_of
from pancode.errors import UsageError

if TYPE_CHECKING:
    from pancode.cli.sessions.screen.desk import Begin


class OnCap(StrEnum):
    """What a session does where the cap of a sitting cuts a turn."""

    REST = "rest"
    ASK = "ask"


app = Commands()
Words = Annotated[str | None, Argument(help="The first words; without them you are asked.")]
Once = Annotated[bool, option("Take one turn, print its answer, and let the session rest.", "--once")]
Plain = Annotated[bool, option("Line by line, as in a pipe, and no whole screen.", "--plain")]
_CALLER = ("by", "cwd", "settings")


@app.verb(
    "chat",
    'pancode chat --node gpubox "why is the build slow?"',
    'pancode chat --once --json --model anthropic/claude-sonnet-4-5 "name the failing test"',
    cls=options.WorkCommand,
)
@options.takes("chat", after="agent")
def chat(
    ctx: typer.Context,
    *,
    words: Words = None,
    once: Once = False,
    plain: Plain = False,
    agent: options.SessionAgent = None,
    on_cap: Annotated[
        OnCap | None,
        option("At the cap of a sitting: rest (default), or ask a person in the inbox whether to go on."),
    ] = None,
    until_verified: Annotated[
        bool,
        option("Go on without words until the gates pass, at most for --budget.", "--until-verified"),
    ] = False,
    yes: options.Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Talk with an agent on any machine. It stays when you leave: Ctrl-D and /detach end nothing.

    A terminal shows a whole screen; --plain, a pipe and TERM=dumb are line by line. Inside a repository the
    agent has all of it, and begins in the folder where you stand. Without --agent it is that of
    dispatch.agent, else builder. After ten minutes without words the session rests: its slot is free, its
    files and its memory are kept, and your next words go on with it. /help shows what else can be typed.
    A runtime that takes no turns is refused, with the names of those that do.
    """
    about = {name: value for name, value in of_caller(ctx.params).items() if name in _CALLER}
    body = {**options.said(ctx.params), **about, "yes": yes}
    body |= {"on_cap": on_cap.value} if on_cap is not None else {}
    body |= {"until_verified": True} if until_verified else {}

    once_only = RepeatedPost(lambda: SystemIds().token(16))

    def begin(face: Face, client: Client, task: str) -> dict[str, Any]:
        """Words that are sent again after an answer that was lost begin no second session."""
        begun: dict[str, Any] = post_agreed(face, client, "/v1/sessions", {"task": task, **body}, once_only)
        return begun

    if not once and not plain and _draws(face):
        return _on_screen(face, begin, first=words or "")
    client = face.client(works=True)
    first = _first(face, words, once=once)
    begun = begin(face, client, first)
    for warning in begun["warnings"]:
        face.note(f"warning: {safe(warning)}")
    chosen = f", {safe(begun['chosen'])}" if begun["chosen"] else ""
    face.note(f"session {begun['run']}: agent {safe(begun['agent'])}{chosen}")
    talk = ChatLoop(face, client, SystemIds(), begun["run"])
    return talk.once((begun["run"], 0)) if once else talk.go((begun["run"], 0), first)


def _draws(face: Face) -> bool:
    """Whether there is a terminal for a whole screen; Textual draws on standard error."""
    here = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    return here and not face.as_json and os.environ.get("TERM", "dumb") != "dumb"


def _on_screen(face: Face, begin: Begin, run: str = "", since: str = "", first: str = "") -> int:
    """The screen until the person leaves, who then reads how to come back."""
    from node_agent.wire.clock import SystemClock
    from pancode.cli.sessions.screen.app import ChatScreen
    from pancode.cli.sessions.screen.desk import ChatDesk
    from pancode.cli.top import on_screen

    desk = ChatDesk(face, SystemIds(), begin, run, since)
    app = ChatScreen(desk, SystemClock(), who(), folder_here(), first)
    try:
        return on_screen(app)
    finally:
        unsure = desk.leave()
        for words in unsure:
            what = safe_block(words or "what you chose last").rstrip()
            aside(f"not known whether it was sent: {what}\n  look: pancode sessions\n")
        for words in filter(None, (*desk.refused, app.left_words)):
            if words not in unsure:
                aside(f"not sent: {safe_block(words).rstrip()}\n")
        if desk.run:
            aside(f"{come_back(app.shape.get('session', desk.run), app.shape.get('state', ''))}\n")


def _unless_json(face: Face, command: str, *, once: bool) -> None:
    if face.as_json and not once:
        fix = f'{command} --once --json "..."'
        raise UsageError("a conversation is no JSON", fix=fix, code="needs_once")


def _first(face: Face, words: str | None, *, once: bool) -> str:
    """The first words: an argument, or a line that is typed or piped. UsageError where there are none."""
    if words is None and not once:
        if face.can_ask():
            sys.stderr.write("> ")
            sys.stderr.flush()
        words = (read_line() or "").strip()
    _unless_json(face, "pancode chat", once=once)
    if not words:
        raise UsageError("a session begins with words, and there are none", fix='pancode chat "..."')
    return words


@app.verb(
    "attach",
    "pancode attach last",
    "pancode attach r-7f3k",
    'pancode attach --once r-7f3k "and now the tests"',
)
def attach(
    run: Run,
    words: Annotated[str | None, Argument(help="Words to say at once.")] = None,
    *,
    once: Once = False,
    plain: Plain = False,
    since: Annotated[
        str | None, option("Show it from this number on, as the stream of the API tells it.", "RUN:BYTE")
    ] = None,
    face: Json,
) -> int:
    """Come back to a session, or go on with any run, at work or ended: what it said is shown, then you talk.

    RUN is any run of the session; `last` is the session that began last. Several people can be attached at
    once: each sees who said what.
    """
    client = face.client(works=words is not None)
    if once and words is None:
        raise UsageError(
            "--once takes a turn, and there are no words", fix=f'pancode attach --once {run} "..."'
        )
    _unless_json(face, f"pancode attach {run}", once=once)
    shape = client.get(path_of("sessions", run))
    if not once and not plain and _draws(face):
        return _on_screen(face, _none_begins, shape["run"], since or "", words or "")
    talk = ChatLoop(face, client, SystemIds(), shape["run"], since or "")
    message = None if words is None else talk.say(words)
    return talk.once(message) if once and message is not None else talk.go()


def _none_begins(face: Face, client: Client, words: str) -> dict[str, Any]:
    raise AssertionError("a session is there already")
