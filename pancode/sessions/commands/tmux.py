"""`pancode up` and `down`: one tmux session per project, with windows for the chat, top and a shell."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pancode.config.variables import LIMITING, PER_DISPATCH
from pancode.interfaces.cli.output import PROGRAM, folder_here, write_stderr
from pancode.interfaces.cli.parameters import Argument, Json, verb
from pancode.interfaces.client.client import place_of
from pancode.kernel.errors import ExitCode, NotFoundError, PancodeError, UnavailableError, UsageError
from pancode.kernel.formatting import escape_line
from pancode.kernel.names import not_found

HANDED_ON = (
    *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("TMPDIR", "TMUX_TMPDIR", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "VIRTUAL_ENV"),
    *("PANCODE_HOME", "PANCODE_COORDINATOR", "PANCODE_TIME_FACTOR"),
)
"""The only variables passed to tmux, because its server shows its environment to any client."""
WINDOWS: tuple[tuple[str, tuple[str, ...]], ...] = (("chat", ()), ("top", ("top",)), ("shell", ()))
THEN_A_SHELL = '"$@"; exec "${SHELL:-sh}"'
"""The shell command of a window, which stays open when its command has ended. It contains no user input."""
FOLDER = "@pancode_folder"
NO_TMUX = "no_tmux"
Name = Annotated[str | None, Argument(metavar="[NAME]", show_default=False)]


@dataclass(frozen=True, slots=True)
class Terminal:
    """A tmux session."""

    name: str
    folder: str
    attached: bool


class Tmux:
    """The tmux server of this fleet, with its own socket and an environment without secrets.

    UnavailableError if tmux is not installed, and with tmux's own message if it refuses.
    """

    def __init__(self, environ: Mapping[str, str], folder: str) -> None:
        program = shutil.which("tmux", path=environ.get("PATH"))
        if program is None:
            raise UnavailableError("tmux is not installed on this computer", fix="install tmux", code=NO_TMUX)
        of = hashlib.sha256(str(place_of(environ)).encode()).hexdigest()[:8]
        self._base, self.socket, self._folder = [program, "-L", f"pancode-{of}"], f"pancode-{of}", folder
        self._env = {name: environ[name] for name in HANDED_ON if name in environ}
        # The server keeps its first caller's variables; PanCode treats an empty one as unset.
        limits = sorted({*LIMITING, *PER_DISPATCH})
        self._given = [word for name in limits for word in ("-e", f"{name}={environ.get(name, '')}")]

    def ask(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            why = escape_line(done.stderr.decode("utf-8", "replace").strip())
            raise UnavailableError(f"tmux refused {words[0]}", why=why, fix=f"tmux -L {self.socket} ls")
        return done.stdout.decode("utf-8", "replace")

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self._base, "-u", *words], cwd=self._folder, env=self._env, capture_output=True, check=False
        )

    def terminals(self) -> list[Terminal]:
        """Return the running sessions; empty if there is no server."""
        shown = f"#{{session_attached}}\t#{{session_name}}\t#{{{FOLDER}}}"
        rows = self._run("list-sessions", "-F", shown).stdout.decode("utf-8", "replace")
        parts = [line.split("\t", 2) for line in rows.splitlines()]
        return [Terminal(one[1], one[2], one[0] != "0") for one in parts if len(one) == 3]

    def open(self, name: str) -> None:
        """Open the session and its windows; existing ones stay."""
        begun, shown = self._run("has-session", "-t", f"={name}").returncode != 0, list[str]()
        if not begun:
            shown = self.ask("list-windows", "-t", f"={name}", "-F", "#{window_name}").split("\n")
        for window, command in WINDOWS:
            argv = () if window == "shell" else ("sh", "-c", THEN_A_SHELL, "sh", *PROGRAM, *command)
            if begun:
                self.ask("new-session", "-d", *self._given, "-s", name, "-n", window, *argv)
                self.ask("set-option", "-t", f"={name}:", FOLDER, self._folder)
                begun = False
            elif window not in shown:
                self.ask("new-window", "-d", *self._given, "-t", f"={name}:", "-n", window, *argv)
        self.ask("select-window", "-t", f"={name}:chat")

    def enter(self, name: str, inside: str) -> int:
        """Show the session until the user leaves it. `inside`: the value of $TMUX, or empty."""
        if Path(inside.partition(",")[0]).name == self.socket:
            argv, env = [*self._base, "switch-client", "-t", f"={name}"], {**self._env, "TMUX": inside}
            subprocess.run(argv, env=env, check=False)
            return ExitCode.DONE
        if inside:
            write_stderr("this tmux runs inside another one: press its prefix key twice\n")
        argv = [*self._base, "attach-session", "-t", f"={name}"]
        failed = subprocess.run(argv, env=self._env, check=False).returncode
        return ExitCode.ERROR if failed else ExitCode.DONE

    def close(self, name: str) -> None:
        self.ask("kill-session", "-t", f"={name}")


def session_name(text: str) -> str:
    """Return a valid session name: tmux forbids dots and colons, and other characters are special."""
    name = "".join("_" if char in ".:#;$@%\\" or not char.isprintable() else char for char in text).strip()
    return name or "pancode"


def project_here(folder: str) -> str:
    """Return the top of the repository that contains the folder, else the folder."""
    for one in (Path(folder), *Path(folder).parents):
        if (one / ".git").exists():
            return str(one)
    return folder


def list_terminals() -> list[Terminal]:
    """Return the running tmux sessions; empty if tmux is not available."""
    try:
        return Tmux(os.environ, "/").terminals()
    except PancodeError:
        return []


@verb("up", "", '"night shift"')
def up(*, name: Name = None, face: Json) -> int:
    """Open this project's terminal in tmux, with the chat, top and a shell, or come back to it.

    NAME defaults to the name of the repository's directory. Its tmux has its own socket and gets only the
    variables that locate your files and nodes, never a key. `pancode down` ends it; `pancode sessions` lists
    it. Without tmux, the chat starts in this terminal.
    """
    folder = folder_here()
    top = project_here(folder)
    try:
        tmux = Tmux(os.environ, folder)
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
    fix = f"pancode up {shlex.quote(f'{meant}-2')}, or open that one: pancode up {quoted}"
    _unless_another(tmux, meant, top, name, fix)
    tmux.open(meant)
    if face.as_json:
        return face.end(ExitCode.DONE, {"name": meant, "socket": tmux.socket}, str)
    return tmux.enter(meant, os.environ.get("TMUX", ""))


def _unless_another(tmux: Tmux, meant: str, top: str, name: str | None, fix: str) -> None:
    """Raise UsageError if the name was not given and its terminal belongs to another project."""
    other = next((one for one in tmux.terminals() if one.name == meant), None)
    if name is None and other is not None and project_here(other.folder) != top:
        what, why = f"terminal {meant} belongs to another project", f"it was opened in {other.folder}"
        raise UsageError(what, why=why, fix=fix, code="name_taken")


@verb("down", "", '"night shift"')
def down(*, name: Name = None, face: Json) -> None:
    """End this project's terminal, or the one called NAME. Sessions, runs and the fleet continue."""
    tmux = Tmux(os.environ, "/")
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
