"""Starts PanCode's program that talks with another program over the Agent Client Protocol (ACP), for an
interactive run."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.base import LaunchRequest, Parser, ParserFactory, Place, ProcessSpec
from node_agent.runtimes.vendors import ANY
from node_agent.runtimes.workers import launch_of, spec_of
from node_agent.runtimes.workerstream import WorkerParser
from node_agent.wire.model import WireModel

PROGRAM, FILE = "acp/program.py", "acp.json"


class AcpWay(WireModel):
    """How PanCode talks ACP with one program, as measured.

    `argv` starts the program. `install`: the command that installs it. `mode`: the mode that is set first;
    empty: the program's own. `options`: the settings that are set next. `denials`: strings in the outcome of
    a
    denied call.
    """

    name: str
    argv: tuple[str, ...]
    install: str
    mode: str = ""
    options: dict[str, str] = {}
    denials: tuple[str, ...] = ()
    titled: str = ""
    """The beginning of the text attached to a call in the run's folder, for programs whose call title is the
    whole command. Empty: the command is `rawInput.command`."""
    resumes: tuple[str, ...] = ("resume", "load")
    """The methods of `session/` that continue a session; the first one that the program supports is used."""
    signs: str = "/"
    """Prefixes of the program's own commands; a user message that starts with one is sent after a header."""
    chats: str = ""
    """The pattern of chat files in the home, with `{}` for the beginning of the session's name, for programs
    where loading a session resets an older chat file of that name from the same minute."""
    keeps: tuple[str, str] | None = None
    """For a program that stores an answer only after giving it, and never if its input ends before that: the
    pattern of the file in the home, with `{}` for the session, and the mark of a line with an answer."""
    notices: tuple[str, ...] = ()
    """The beginnings of the program's own messages, if it mixes them with its model's text. A turn that ends
    with such a message has failed, although the program reports success."""
    sums: bool = False
    """Whether the usage that the program reports for a turn is the sum since its start."""
    begins: str = ""
    """The agent's instructions, put before a user's first message if the program has no other place for
    them."""
    model: str = ""
    """The model to use, one of those that the program offers, if no setting names one."""
    effort: str = ""
    """The reasoning effort of the model, by the program's own name for it."""
    chooses: bool = False
    """A program of an owner's choice: `mode`, `model` and `effort` are set if the program offers them."""
    known: str = ""
    """The beginning of the program's known versions; empty: any version."""
    behind: str = ""
    """The suffix of the working folder's path. Codex's adapter marks the exact path that it gets as trusted,
    so that the repository's programs would start; the folder under another spelling is not trusted."""
    settings: dict[str, Any] = {}
    """The `_meta` that the program gets each time a session begins or continues."""
    programs: dict[str, str] = {}
    """For an adapter: each variable, and the program whose path is its value."""
    memory: tuple[str, ...] = ()
    """The files and folders of the program's home with its memory, without settings and logins."""
    folders: tuple[str, ...] = ()
    """The folders of the program's home that contain files of the launch or its memory."""
    silent_ms: int = 0
    """After this time without a message, and with no call in progress, the model counts as not answering."""


SILENT_MS = 600_000
"""How long to wait for a silent program if no idle limit is set."""


def wrap_launch(way: AcpWay, request: LaunchRequest, place: Place, launch: ProcessSpec) -> ProcessSpec:
    """Return the launch of PanCode's ACP program in place of `launch`, with its environment and files."""
    spec = spec_of(request, place, (ANY, request.model or ""), launch.env, True)
    limits = request.limits  # a limit of silence counts only if it comes before the end of the whole run
    patience_ms = limits.idle_ms if limits.idle_ms < limits.wall_ms else SILENT_MS
    silent_ms = patience_ms * 4 // 5  # before the shim would end the whole interactive run for it
    ours = launch_of(PROGRAM, request, place, launch.env, spec, f"{request.home}/{FILE}")
    tops = {name.partition("/")[0] for name in (*launch.files, *way.memory) if "/" in name} - {"tmp"}
    measured = {"silent_ms": silent_ms, "folders": tuple(sorted(tops))}
    data = way.model_copy(update=measured).model_dump_json().encode()
    files = {**ours.files, **launch.files, FILE: data}
    return ProcessSpec(ours.argv, launch.env, ours.stdin, files, launch.login)


def headless_or_talked(headless: ParserFactory) -> ParserFactory:
    """Return a parser of the program's own stream or, in an interactive run, of PanCode's ACP program's
    stream."""

    def parser(request: LaunchRequest) -> Parser:
        return headless(request) if request.interactive_run is None else WorkerParser(request)

    return parser
