"""`pancode top`: the fleet on one screen, live, with keys."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.output import Face, find_user, write_stderr
from pancode.interfaces.cli.tree import PAGES
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import UsageError

if TYPE_CHECKING:
    from pancode.interfaces.tui.application import SteadyPage
    from pancode.interfaces.tui.log_reader import LogReader
    from pancode.interfaces.tui.reader import Reader, Say


@verb("top", "pancode top", "pancode top runs")
def top(
    resource: Annotated[
        str, Argument(help="First page: status, runs, nodes, waiting, workflows, inbox, budget ...")
    ] = "status",
) -> int:
    """Show the fleet on one screen, live: nodes, runs, sessions, logs, changes, workflows, inbox, budget.

    `?` shows the keys, `:` opens a page, `/` filters, `q` quits. Runs continue when you quit.
    """
    _check_terminal()
    from pancode.interfaces.tui.views import find_resource as named
    from pancode.interfaces.tui.views import list_resources

    begin = named(resource)
    if begin is None or begin == "quit":
        raise UsageError(f"resource {resource!r} not found", fix=f"one of: {', '.join(list_resources())}")
    from node_agent.wire.clock import SystemClock
    from pancode.interfaces.tui.app import Console
    from pancode.interfaces.tui.application import on_screen
    from pancode.interfaces.tui.themes import read_theme

    readers = _Readers()
    try:
        first = Console(readers, find_user(), SystemClock(), begin)
        return on_screen(first, lambda: read_theme(_client(starts=False)))
    finally:
        for page in readers.chats:
            page.tell_unsent(write_stderr)


def _check_terminal() -> None:
    """UsageError where no screen can be drawn: Textual reads standard input, and draws on standard error."""
    for stream, name in ((sys.stdin, "standard input"), (sys.stderr, "standard error")):
        if not stream.isatty():
            raise UsageError(
                f"pancode top needs a terminal, and {name} is not one",
                fix="pancode node ls, pancode runs, pancode audit --events -f",
                code="no_terminal",
            )
    if os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError(
            "pancode top does not support this terminal",
            why=f"TERM is {os.environ.get('TERM', 'not set')}",
            fix="export TERM=xterm-256color, or pancode node ls",
            code="no_terminal",
        )


class _Readers:
    """Makes readers. Only the first question may start a coordinator; the screen tells when it is away
    later."""

    def __init__(self) -> None:
        self._client = _client(starts=False)
        self.chats: list[SteadyPage] = []

    def reader(self, say: Say) -> Reader:
        from pancode.interfaces.tui.reader import Reader

        return Reader(_client(starts=True), self._client, say)

    def log(self, run: str) -> LogReader:
        from pancode.interfaces.tui.log_reader import LogReader

        return LogReader(self._client, run)

    def chat(self, session: str) -> SteadyPage:
        self.chats.append(importlib.import_module(PAGES["session"]).open_page(session))
        return self.chats[-1]


def _client(*, starts: bool) -> Client:
    """Return a client that prints no notes, as the screen has the terminal."""
    client = Face(as_json=False).client(starts=starts)
    client.note = lambda text: None
    return client
