"""`pancode chat` and `pancode attach`: talk with an agent on any node, leave, and come back."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.conversation.answers import BEGIN_CHAT, SESSION
from pancode.interfaces.cli.commands import BARE, verb
from pancode.interfaces.cli.output import Face, find_user, folder_here, tell_error, write_stderr
from pancode.interfaces.cli.parameters import Json, Run, Yes, option
from pancode.interfaces.cli.terminal import escape_line
from pancode.interfaces.client.caller import find_folder, terminal_is_gone
from pancode.interfaces.client.client import Client, RepeatedPost
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.names import ORCHESTRATOR
from pancode.reports.commands.brief import tell_brief
from pancode.runs.answers import QueuedAnswer
from pancode.runs.commands import options
from pancode.runs.commands.dispatch_requests import of_caller, post_agreed
from pancode.sessions.commands import line_chat
from pancode.sessions.commands.preflight import FoundLine, prepare_session
from pancode.sessions.commands.screen.controller import ChatController
from pancode.sessions.commands.slash import LEAVE, parse_command
from pancode.sessions.commands.terms import Terms

if TYPE_CHECKING:
    from pancode.sessions.commands.screen.app import ChatScreen


Words = Annotated[str | None, Argument(help="The first message; without it, you are asked for it.")]
Once = Annotated[bool, option("Take one turn, print its answer, and suspend the session.")]
Plain = Annotated[bool, option("Show the chat line by line, not on the whole screen.")]
_AGENT = "Agent definition (default: panos; with --until-verified: dispatch.agent, else builder)."
AS_SAID: Terms = {}
"""The terms if the user chose no mode or level with keys: those of the command line apply."""
_CALLER = ("by", "cwd", "settings")
_ON_CAP = "At the budget cap of an interactive run: rest (suspend, the default), or ask whether to continue."
_UNTIL_VERIFIED = "Continue without messages until the gates pass or --budget is used up."


@verb(
    "chat",
    '--node gpubox "why is the build slow?"',
    '--once --json --model anthropic/claude-sonnet-4-5 "name the failing test"',
    cls=options.WorkCommand,
)
@options.take_options("chat", after="agent")
def chat(
    ctx: typer.Context,
    *,
    words: Words = None,
    once: Once = False,
    plain: Plain = False,
    agent: Annotated[str | None, option(_AGENT)] = None,
    on_cap: Annotated[Literal["rest", "ask"] | None, option(_ON_CAP)] = None,
    until_verified: Annotated[bool, option(_UNTIL_VERIFIED)] = False,
    yes: Yes = False,
    face: Json,
    **_options: Any,
) -> int:
    """Talk with Panos, or with another --agent, on any node; `pancode` alone does the same.

    The session stays when you leave: Ctrl-D and /detach do not end it. A terminal shows a full screen, which
    first lists what was found; --plain, a pipe and TERM=dumb work line by line. In a repository, the agent
    has all its files and starts in your directory. Without --model and --runtime, ready ones are chosen. A
    --preset applies to this session and the runs it dispatches; the applied preset does not change.

    After ten minutes without a message, or 30 seconds if another run waits for the slot, the session is
    suspended: its slot is released, its files and memory are kept, and your next message continues it. /help
    lists the commands that you can type. A runtime that cannot take turns is refused, and the error names
    those that can.
    """
    if _by_itself(ctx, face, words):
        return ExitCode.DONE
    body = _make_body(ctx.params)
    body |= {"on_cap": on_cap} if on_cap else {}
    once_only = RepeatedPost(lambda: SystemIds().token(16))

    def begin(face: Face, client: Client, task: str, terms: Terms = AS_SAID) -> QueuedAnswer:
        """Start a session; a request repeated after a lost response does not start a second session."""
        return post_agreed(face, client, BEGIN_CHAT, {"task": task, **body, **terms}, once_only)

    def opening(face: Face, client: Client) -> list[FoundLine]:
        return prepare_session(client, body, face.note)

    if _can_draw(face, once=once, plain=plain):
        shown = opening if agent is None else None
        return _on_screen(ChatController(face, SystemIds(), begin, opening=shown, flags=_flags(body)), words)
    line_chat.leaves_with_terminal()
    client = face.client(works=True)
    if agent is None and not once and _is_seen(face):
        for line in opening(face, client):
            face.note(escape_line(str(line)))
    first = _read_first(face, words, once=once)
    if first is None:
        return ExitCode.DONE
    begun = begin(face, client, first)
    face.warn(begun["warnings"])
    chosen = f", {escape_line(begun['chosen'])}" if begun["chosen"] else ""
    face.note(f"session {begun['run']}: agent {escape_line(begun['agent'])}{chosen}")
    talk = line_chat.ChatLoop(face, client, SystemIds(), SystemClock(), begun["run"])
    return talk.once((begun["run"], 0)) if once else talk.go((begun["run"], 0), first)


def _make_body(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request without its task. The orchestrator needs no workspace outside a repository."""
    body = dict(given)
    # With --until-verified no user takes part, so an agent that works itself is needed.
    if given["agent"] is None and not given["until_verified"]:
        body["agent"] = ORCHESTRATOR
        if find_folder() is None:
            body["workspace"] = given["workspace"] or "none"
    about = {name: value for name, value in of_caller(body).items() if name in _CALLER}
    alone = {"until_verified": True} if given["until_verified"] else {}
    return {**options.collect_given(body), **about, **alone, "yes": given["yes"]}


def _by_itself(ctx: typer.Context, face: Face, words: str | None) -> bool:
    """Whether `pancode` alone is done: without a terminal it prints the brief; with one, the chat follows."""
    if not ctx.meta.get(BARE):
        return False
    if words is not None:
        fix = f"pancode chat {shlex.quote(words)}; or put the command first: pancode {shlex.quote(words)} ..."
        raise UsageError("options before a command apply only to a chat", fix=fix, code="not_a_command")
    if _is_seen(face):
        return False
    tell_brief(face)
    return True


def _is_seen(face: Face) -> bool:
    """Whether all three standard streams are terminals; Textual draws on standard error."""
    return not face.as_json and all(one.isatty() for one in (sys.stdin, sys.stdout, sys.stderr))


def _flags(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the mode, the level and the preset given on the command line."""
    settings = {name: str(body[name]) for name in ("mode", "safety", "preset") if body.get(name)}
    level = body.get("settings", {}).get("dispatch.safety")
    return settings if level is None or "preset" in settings else {"safety": str(level), **settings}


def _can_draw(face: Face, *, once: bool, plain: bool) -> bool:
    """Whether to show a full screen: it is wanted and the terminal can show one."""
    return not once and not plain and _is_seen(face) and os.environ.get("TERM", "dumb") != "dumb"


def page_of(controller: ChatController, first: str = "") -> ChatScreen:
    """Return the screen of a chat, which sends the message `first` at once."""
    from pancode.sessions.commands.screen.app import ChatScreen

    return ChatScreen(controller, SystemClock(), find_user(), folder_here(), first)


def open_page(session: str) -> ChatScreen:
    """Return the screen of this session, for a page above another one."""
    return page_of(ChatController(Face(as_json=False), SystemIds(), None, session))


def _on_screen(controller: ChatController, first: str | None) -> int:
    """Show the chat screen until the user leaves; then print unsent messages and how to return."""
    from pancode.interfaces.tui.application import on_screen

    page = page_of(controller, first or "")
    try:
        return on_screen(page, controller.theme)
    finally:
        page.tell_unsent(write_stderr)
        if controller.run:
            session, state = page.shape.get("session", controller.run), page.shape.get("state", "")
            write_stderr(f"{line_chat.come_back(session, state)}\n")


def _unless_json(face: Face, command: str, *, once: bool) -> None:
    if face.as_json and not once:
        fix = f'{command} --once --json "..."'
        raise UsageError("--json does not apply to an interactive conversation", fix=fix, code="needs_once")


def _read_first(face: Face, words: str | None, *, once: bool) -> str | None:
    """Return the first message from the argument or from a typed or piped line. UsageError if there is none.

    None if the user leaves or if all lines were commands.
    """
    if words is not None and _is_command(words):
        words = None
        if once or not face.can_ask():
            return None
    if words is None and not once:
        words = _read_typed() if face.can_ask() else _read_piped()
        if not words and terminal_is_gone():
            raise KeyboardInterrupt
        if words is None:
            return None
    _unless_json(face, "pancode chat", once=once)
    if not words:
        raise UsageError("a session needs a first message", fix='pancode chat "..."')
    return words


def _is_command(text: str) -> bool:
    """Whether the text is a command; if it is, run it. UsageError for an unknown or failed command."""
    command = None if text in LEAVE else parse_command(text)
    if command is not None and not line_chat.tell_command(command):
        raise UsageError(f"{escape_line(command.text)} failed", fix="/help", code="command_failed")
    return text in LEAVE or command is not None


def _read_piped() -> str | None:
    """Run the piped commands and return the first message after them; None if there is none."""
    commands = False
    while (line := line_chat.read_line()) is not None:
        text = line.strip()
        if text in LEAVE:
            return None
        if text and not _is_command(text):
            return text
        commands = commands or bool(text)
    return None if commands else ""


def _read_typed() -> str | None:
    """Return the first typed line that is a message; None at the end of input."""
    while True:
        write_stderr("> ")
        line = line_chat.read_line()
        text = (line or "").strip()
        if line is None or text in LEAVE:
            return None
        try:
            if text and not _is_command(text):
                return text
        except UsageError as error:
            tell_error(error, as_json=False)


@verb("sessions attach", "last", "r-7f3k", '--once r-7f3k "and now the tests"')
def attach(
    run: Run,
    words: Annotated[str | None, Argument(help="A message to send at once.")] = None,
    *,
    once: Once = False,
    plain: Plain = False,
    since: Annotated[
        str | None,
        option("Show the output from this offset on; the format is that of the API's stream.", "RUN:BYTE"),
    ] = None,
    face: Json,
) -> int:
    """Return to a session, or continue any run, running or ended: it is shown, and then you talk.

    RUN is any run of the session; `last` is the newest session. Several users can be attached at the same
    time; each sees who wrote what.
    """
    client = face.client(works=words is not None)
    if once and words is None:
        raise UsageError("--once requires a message", fix=f'pancode sessions attach --once {run} "..."')
    _unless_json(face, f"pancode sessions attach {run}", once=once)
    shape = client.get(SESSION.at(run))
    if _can_draw(face, once=once, plain=plain):
        return _on_screen(ChatController(face, SystemIds(), None, shape["run"], since or ""), words)
    line_chat.leaves_with_terminal()
    talk = line_chat.ChatLoop(face, client, SystemIds(), SystemClock(), shape["run"], since or "")
    if words is not None and words.strip() in LEAVE:
        return ExitCode.DONE
    command = None if words is None else parse_command(words.strip())
    if command is not None:
        well = talk.run_typed(command)
        return talk.go() if well and not once else ExitCode.DONE if well else ExitCode.ERROR
    message = None if words is None else talk.say(words)
    return talk.once(message) if once and message is not None else talk.go()
