"""`pancode top`: the fleet on one screen, live, with keys."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from pancode.cli.commands import Commands
from pancode.cli.face import PROGRAM, Face, who
from pancode.client import Client
from pancode.errors import UsageError

if TYPE_CHECKING:
    from pancode.tui.logreader import LogReader
    from pancode.tui.reader import Reader, Say
    from pancode.tui.steady import SteadyApp

app = Commands()


@app.verb("top", "pancode top", "pancode top runs")
def top(
    resource: Annotated[
        str, Argument(help="Where to begin: now, runs, machines, queue, workflows, inbox, money ...")
    ] = "now",
) -> int:
    """The fleet on one screen, live: machines, runs, sessions, queue, logs, diffs, workflows, inbox,
    money.

    `?` shows the keys, `:` goes to a resource, `/` filters, `q` leaves. Nothing ends when you leave.
    """
    _check_terminal()
    from pancode.tui.views import resource as named
    from pancode.tui.views import resources

    begin = named(resource)
    if begin is None or begin == "quit":
        raise UsageError(f"there is no resource {resource!r}", fix=f"one of: {', '.join(resources())}")
    return _shown(begin)


def _check_terminal() -> None:
    """UsageError where no picture can be drawn. Textual draws on standard error."""
    for stream, name in ((sys.stdin, "standard input"), (sys.stderr, "standard error")):
        if not stream.isatty():
            raise UsageError(
                f"pancode top needs a terminal, and {name} is none",
                fix="pancode fleet status, pancode runs, pancode events -f",
                code="no_terminal",
            )
    if os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError(
            "pancode top needs a terminal that can draw",
            why=f"TERM is {os.environ.get('TERM', 'not set')}",
            fix="export TERM=xterm-256color, or pancode fleet status",
            code="no_terminal",
        )


def _shown(begin: str) -> int:
    from node_agent.wire.clock import SystemClock
    from pancode.tui.app import Console

    return on_screen(Console(_Readers(), who(), SystemClock(), begin))


def on_screen(app: SteadyApp) -> int:
    """The screen until the person leaves; whatever ends it, the terminal is as it was."""
    import termios

    before = termios.tcgetattr(sys.stdin)
    try:
        status = app.run()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it leaves already, in order
        _restored(before)
    if app.crash is not None:
        raise app.crash
    return status or 0


def _restored(before: list[Any]) -> None:
    """The modes of the terminal, where there still is one."""
    import termios

    with suppress(termios.error, OSError, ValueError):
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


class _Readers:
    """Only the first question may start a coordinator; the screen tells when it is away later."""

    def __init__(self) -> None:
        self._client = _client(starts=False)

    def reader(self, say: Say) -> Reader:
        from pancode.tui.reader import Reader

        return Reader(_client(starts=True), self._client, say)

    def log(self, run: str) -> LogReader:
        from pancode.tui.logreader import LogReader

        return LogReader(self._client, run)

    def attach(self, session: str) -> None:
        import subprocess

        subprocess.run([*PROGRAM, "attach", session], check=False)


def _client(*, starts: bool) -> Client:
    """One that says nothing beside the screen."""
    client = Face(as_json=False).client(starts=starts)
    client.note = lambda text: None
    return client
