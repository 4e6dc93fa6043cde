"""The terminals of `pancode up`: one tmux session per project, with windows for the chat, top and a shell."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pancode.config.variables import LIMITING, PER_DISPATCH
from pancode.kernel.errors import ExitCode, UnavailableError
from pancode.kernel.formatting import escape_line

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


@dataclass(frozen=True, slots=True)
class Terminal:
    """A tmux session."""

    name: str
    folder: str
    attached: bool


class Tmux:
    """The tmux server of this fleet, with its own socket and an environment without secrets.

    `fleet`: where its coordinator is; `program`: how a window starts `pancode`. UnavailableError if tmux is
    not installed, and with tmux's own message if it refuses.
    """

    def __init__(self, environ: Mapping[str, str], folder: str, fleet: str, program: Sequence[str]) -> None:
        tmux = shutil.which("tmux", path=environ.get("PATH"))
        if tmux is None:
            raise UnavailableError("tmux is not installed on this computer", fix="install tmux", code=NO_TMUX)
        self.socket = f"pancode-{hashlib.sha256(fleet.encode()).hexdigest()[:8]}"
        self._base, self._folder, self._program = [tmux, "-L", self.socket], folder, program
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
            argv = () if window == "shell" else ("sh", "-c", THEN_A_SHELL, "sh", *self._program, *command)
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
            sys.stderr.write("this tmux runs inside another one: press its prefix key twice\n")
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
