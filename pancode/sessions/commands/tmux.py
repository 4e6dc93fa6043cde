"""`pancode up` and `down`: this project's terminal in tmux."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from pancode.interfaces.cli.output import PROGRAM, folder_here, write_stderr
from pancode.interfaces.cli.parameters import Argument, Json, verb
from pancode.interfaces.client.client import place_of
from pancode.kernel.errors import ExitCode, NotFoundError, PancodeError, UnavailableError, UsageError
from pancode.kernel.formatting import escape_line
from pancode.kernel.names import not_found
from pancode.sessions.tmux import Terminal, Tmux, project_here, session_name

Name = Annotated[str | None, Argument(metavar="[NAME]", show_default=False)]


def find_tmux(folder: str) -> Tmux:
    """Return the tmux server of this fleet, which starts windows in this folder. UnavailableError."""
    return Tmux(os.environ, folder, str(place_of(os.environ)), PROGRAM)


def list_terminals() -> list[Terminal]:
    """Return the running tmux sessions; empty if tmux is not available."""
    try:
        return find_tmux("/").terminals()
    except PancodeError:
        return []


@verb("up", "", '"night shift"')
def up(*, name: Name = None, face: Json) -> int:
    """Open this project's terminal in tmux, with the chat, top and a shell, or return to it.

    NAME defaults to the name of the repository's directory. The tmux server has its own socket and gets only
    the variables that locate your files and nodes, never a key. `pancode down` ends the terminal; `pancode
    sessions` lists it. Without tmux, the chat starts in the current terminal.
    """
    folder = folder_here()
    top = project_here(folder)
    try:
        tmux = find_tmux(folder)
    except UnavailableError:
        if face.as_json:
            raise
        without = "the chat starts in this terminal (up and down require tmux)"
        write_stderr(f"tmux is not installed here: {without}\n")
        return subprocess.run([*PROGRAM], check=False).returncode
    if not face.as_json and not (sys.stdin.isatty() and sys.stdout.isatty()):
        opens = "--json opens it in the background"
        write_stderr(f"this is not a terminal, so tmux is not opened ({opens}); pancode runs without it\n")
        return subprocess.run([*PROGRAM], check=False).returncode
    meant = session_name(Path(top).name if name is None else name)
    quoted = shlex.quote(meant)
    fix = f"pancode up {shlex.quote(f'{meant}-2')}, or open the existing one: pancode up {quoted}"
    _unless_another(tmux, meant, top, name, fix)
    tmux.open(meant)
    if face.as_json:
        return face.end(ExitCode.DONE, {"name": meant, "socket": tmux.socket}, str)
    return tmux.enter(meant, os.environ.get("TMUX", ""))


def _unless_another(tmux: Tmux, meant: str, top: str, name: str | None, fix: str) -> None:
    """Raise UsageError if no name was given and the default name's terminal is another project's."""
    other = next((one for one in tmux.terminals() if one.name == meant), None)
    if name is None and other is not None and project_here(other.folder) != top:
        what, why = f"terminal {meant} belongs to another project", f"it was opened in {other.folder}"
        raise UsageError(what, why=why, fix=fix, code="name_taken")


@verb("down", "", '"night shift"')
def down(*, name: Name = None, face: Json) -> None:
    """End this project's tmux terminal, or the one called NAME. Sessions, runs and the fleet continue."""
    tmux = find_tmux("/")
    top = project_here(folder_here())
    meant = session_name(Path(top).name if name is None else name)
    _unless_another(tmux, meant, top, name, f"to end that terminal anyway: pancode down {shlex.quote(meant)}")
    names = [one.name for one in tmux.terminals()]
    if not names:
        raise NotFoundError("no terminal is open", fix="to stop the fleet: pancode fleet down")
    if meant not in names:
        raise not_found("terminal", meant, names, "pancode up")
    tmux.close(meant)
    outlook = "sessions and runs continue: pancode sessions, pancode runs"
    face.show({"name": meant}, lambda: f"{escape_line(meant)} is closed; {outlook}\n")
