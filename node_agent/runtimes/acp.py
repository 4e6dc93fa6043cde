"""Starts our program that talks with another one over the Agent Client Protocol (ACP), for a sitting."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.base import LaunchRequest, Parser, ParserFactory, Place, ProcessSpec
from node_agent.runtimes.vendors import ANY
from node_agent.runtimes.workers import launch_of, spec_of
from node_agent.runtimes.workerstream import WorkerParser
from node_agent.wire.model import WireModel

PROGRAM, FILE = "acp/program.py", "acp.json"


class AcpWay(WireModel):
    """How one program is talked with, as it was measured.

    `argv` starts it. `install`: the command that installs it. `mode`: the mode that it is put into first;
    empty: it stays in its own. `options`: what it is configured with then. `denials`: words in the outcome of
    a call that was not let through.
    """

    name: str
    argv: tuple[str, ...]
    install: str
    mode: str = ""
    options: dict[str, str] = {}
    denials: tuple[str, ...] = ()
    titled: str = ""
    """A call's title is the whole command, and the text beside it begins so where it runs in the run's
    folder. Empty: the command is `rawInput.command`."""
    resumes: tuple[str, ...] = ("resume", "load")
    """The methods of `session/` that go on with a session; the first one that it has is used."""
    signs: str = "/"
    """Words that begin with one of these are a command of its own, so they are sent behind a head."""
    chats: str = ""
    """Where a load begins a file of the session's name and of this minute, and with it would reset a file of
    that name: the pattern of the files in the home, with `{}` for how the session begins."""
    keeps: tuple[str, str] | None = None
    """Where it writes down an answer only after it has given it, and ends without that when its input ends:
    the pattern of the file in the home, with `{}` for the session, and what marks a line with an answer."""
    notices: tuple[str, ...] = ()
    """It says words of its own among those of its model, and they begin so; after the last of these, the turn
    has failed, although it ends it as one that went well."""
    sums: bool = False
    """What it says that a turn used is the sum since its start."""
    begins: str = ""
    """The agent's instructions, where they are taken in no other way: before a person's first words."""
    model: str = ""
    """The model that it is to ask, where no setting says so: one of those that it offers."""
    effort: str = ""
    """How hard its model is to think, by its own name for that."""
    chooses: bool = False
    """A program of an owner's choice: `mode`, `model` and `effort` are set where it offers them."""
    known: str = ""
    """How its version must begin; empty: any does."""
    behind: str = ""
    """What stands behind the path of the folder where it works. Codex's adapter calls that very path
    trusted, so that programs of a repository would start; of the folder by another name it says nothing."""
    settings: dict[str, Any] = {}
    """What it is told as `_meta` each time a session begins or goes on."""
    programs: dict[str, str] = {}
    """Of an adapter: variables, and of which program each has the path."""
    memory: tuple[str, ...] = ()
    """Files and folders of its home that are what it remembers, and neither settings nor a login."""
    folders: tuple[str, ...] = ()
    """Where in its home a launch has laid something."""
    silent_ms: int = 0
    """Without a message for so long, and with no call at work, its model gives no answer."""


SILENT_MS = 600_000
"""The patience with a silent program where no limit of silence is set."""


def talked(way: AcpWay, request: LaunchRequest, place: Place, launch: ProcessSpec) -> ProcessSpec:
    """The launch of our program in the place of `launch`, whose environment and files stay as they are."""
    spec = spec_of(request, place, (ANY, request.model or ""), launch.env, True)
    limits = request.limits  # a limit of silence is one that comes before the end of all time
    patience_ms = limits.idle_ms if limits.idle_ms < limits.wall_ms else SILENT_MS
    silent_ms = patience_ms * 4 // 5  # before the shim ends the whole sitting for it
    ours = launch_of(PROGRAM, request, place, launch.env, spec, f"{request.home}/{FILE}")
    tops = {name.partition("/")[0] for name in (*launch.files, *way.memory) if "/" in name} - {"tmp"}
    measured = {"silent_ms": silent_ms, "folders": tuple(sorted(tops))}
    told = way.model_copy(update=measured).model_dump_json().encode()
    files = {**ours.files, **launch.files, FILE: told}
    return ProcessSpec(ours.argv, launch.env, ours.stdin, files, launch.login)


def headless_or_talked(headless: ParserFactory) -> ParserFactory:
    """The reader of a program's own stream, or in a sitting that of ours."""

    def parser(request: LaunchRequest) -> Parser:
        return headless(request) if request.sitting is None else WorkerParser(request)

    return parser
