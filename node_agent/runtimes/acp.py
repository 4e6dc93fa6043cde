"""Starts PanCode's program that controls another program over the Agent Client Protocol (ACP), for an
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
    """How PanCode uses ACP with one program, as measured.

    `argv` starts the program. `install`: the command that installs it. `mode`: the mode that is set first;
    empty: the program's own. `options`: the settings that are set next. `denials`: texts that show in a
    call's
    outcome that the call was denied.
    """

    name: str
    argv: tuple[str, ...]
    install: str
    mode: str = ""
    options: dict[str, str] = {}
    denials: tuple[str, ...] = ()
    titled: str = ""
    """The start of the text attached to a call in the run's folder, for programs whose call title is the
    whole command. Empty: the command is `rawInput.command`."""
    resumes: tuple[str, ...] = ("resume", "load")
    """The methods of `session/` that continue a session, of which the first supported one is used."""
    signs: str = "/"
    """Prefixes of the program's own commands; a user message that starts with one is sent after a header."""
    chats: str = ""
    """The pattern of chat files in the home, with `{}` for the start of the session's name, for programs
    that, when a session is loaded, reset an older chat file of that name from the same minute."""
    keeps: tuple[str, str] | None = None
    """For a program that stores an answer only after sending it, and not if its input ends earlier: the
    pattern of the file in the home, with `{}` for the session, and the mark of a line with an answer."""
    notices: tuple[str, ...] = ()
    """The start of the program's own messages, if it mixes them with its model's text. A turn that ends with
    such a message has failed, although the program reports success."""
    sums: bool = False
    """Whether the usage that the program reports for a turn is the total since its start."""
    begins: str = ""
    """The agent's instructions, put before a user's first message if the program has no other place for
    them."""
    model: str = ""
    """The model to use, one of those that the program offers, if no setting names one."""
    effort: str = ""
    """The reasoning effort of the model, in the program's own term."""
    chooses: bool = False
    """Whether the owner chose the program: then `mode`, `model` and `effort` are set only if offered."""
    known: str = ""
    """The beginning of the program's known versions; empty: any version."""
    behind: str = ""
    """The suffix of the working folder's path. Codex's adapter marks exactly the path that it gets as
    trusted, so that the repository's programs would start; with another spelling the folder is not trusted.
    """
    settings: dict[str, Any] = {}
    """The `_meta` that the program gets each time a session starts or continues."""
    programs: dict[str, str] = {}
    """For an adapter: each variable, and the program whose path is its value."""
    memory: tuple[str, ...] = ()
    """The files and folders of the program's home that contain its memory, without settings and logins."""
    folders: tuple[str, ...] = ()
    """The folders of the program's home that contain files of the launch or its memory."""
    silent_ms: int = 0
    """The time without a message, and without a call in progress, after which the model counts as silent."""


SILENT_MS = 600_000
"""How long to wait for a silent program if no idle limit is set."""


def wrap_launch(way: AcpWay, request: LaunchRequest, place: Place, launch: ProcessSpec) -> ProcessSpec:
    """Return the launch of PanCode's ACP program, with the environment and files of `launch`."""
    spec = spec_of(request, place, (ANY, request.model or ""), launch.env, True)
    limits = request.limits  # an idle limit counts only if it is shorter than the time limit of the whole run
    patience_ms = limits.idle_ms if limits.idle_ms < limits.wall_ms else SILENT_MS
    # shorter, because the shim would end the whole interactive run at the idle limit
    silent_ms = patience_ms * 4 // 5
    ours = launch_of(PROGRAM, request, place, launch.env, spec, f"{request.home}/{FILE}")
    tops = {name.partition("/")[0] for name in (*launch.files, *way.memory) if "/" in name} - {"tmp"}
    measured = {"silent_ms": silent_ms, "folders": tuple(sorted(tops))}
    data = way.model_copy(update=measured).model_dump_json().encode()
    files = {**ours.files, **launch.files, FILE: data}
    return ProcessSpec(ours.argv, launch.env, ours.stdin, files, launch.login)


def headless_or_talked(headless: ParserFactory) -> ParserFactory:
    """Return a factory for parsers of the program's own stream or, in an interactive run, of the ACP
    program's stream."""

    def parser(request: LaunchRequest) -> Parser:
        return headless(request) if request.interactive_run is None else WorkerParser(request)

    return parser
