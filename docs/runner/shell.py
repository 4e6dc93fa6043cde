"""Runs the commands of a page as one terminal would: folder, variables and answers to questions carry on."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from docs.runner.blocks import Block, Command, missing

LIMIT_S = 180
ANSWER = re.compile(r"\[y/N\]: (\w+)$")
# After a command: its folder and its variables, for the next one.
_WRAP = """cd "$(cat {cwd})" && . {env}
{text}
status=$?
pwd > {cwd}; export -p > {env}
exit $status
"""


class PageFailed(AssertionError):
    """A command did not do what the page says."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """`root`: an empty folder, short, since sockets live below it. `environ`: all that the shell has."""

    root: Path
    environ: Mapping[str, str]
    here: str
    """This machine's name as the fleet has it; pages call it `desk`."""

    @property
    def home(self) -> Path:
        return Path(self.environ["HOME"])

    def run_page(self, page: str, found: Sequence[Block], world: str) -> int:
        """Every block of that world, in order; PageFailed with the place. Returns how many commands ran."""
        (self.root / "cwd").write_text(str(self.home))
        (self.root / "env").write_text("")
        commands = [c for block in found if block.world == world for c in block.commands]
        for command in commands:
            self._one(page, command)
        return len(commands)

    def _one(self, page: str, command: Command) -> None:
        typed = re.sub(r"\bdesk\b", self.here, command.text)
        text = _WRAP.format(
            cwd=shlex.quote(f"{self.root}/cwd"), env=shlex.quote(f"{self.root}/env"), text=typed
        )
        answers = [m[1] for line in command.expected if (m := ANSWER.search(line))]
        status, printed = (
            self._ask(text, answers) if answers else self._say(text)  # a question needs a terminal
        )
        shown = re.sub(rf"\b{re.escape(self.here)}\b", "desk", printed)
        where = f"{page}:{command.line}: $ {command.text}"
        if status != command.status:
            _, files = self._say(f'ls -l --full-time "$(cat {shlex.quote(f"{self.root}/cwd")})"')
            raise PageFailed(f"{where}\nexit {status}, the page says {command.status}\n{printed}\n{files}")
        lacks = missing(command.expected, shown)
        if lacks is not None:
            raise PageFailed(f"{where}\nthe page shows\n  {lacks}\nand it printed\n{shown}")

    def _say(self, text: str) -> tuple[int, str]:
        try:
            done = subprocess.run(
                ["bash", "--norc", "-c", text],
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise PageFailed(f"not over after {LIMIT_S} s\n{text}\n{(late.output or b'').decode()}") from late
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def _ask(self, text: str, answers: list[str]) -> tuple[int, str]:
        pid, master = pty.fork()
        if pid == 0:
            os.execvpe("bash", ["bash", "--norc", "-c", text], dict(self.environ))
        limit = threading.Timer(LIMIT_S, os.kill, (pid, signal.SIGKILL))
        limit.start()
        try:
            printed = _talk(master, answers)
        finally:
            os.close(master)
            _, status = os.waitpid(pid, 0)
            limit.cancel()
        return os.waitstatus_to_exitcode(status), printed

    def clean(self) -> None:
        """Take the fleet down and end whatever still names our folder: everything in it is ours."""
        with contextlib.suppress(PageFailed):
            self._say(_WRAP.format(cwd=f"{self.root}/cwd", env=f"{self.root}/env", text=_DOWN))
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid() and self._is_ours(entry):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)

    def _is_ours(self, entry: Path) -> bool:
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            return False
        return f"{self.root}/".encode() in words


_DOWN = 'pancode fleet down --now >/dev/null 2>&1; cd "$HOME"'


def _talk(master: int, answers: list[str]) -> str:
    """Everything that is printed; each question gets the next answer."""
    printed, left = b"", list(answers)
    while True:
        ready, _, _ = select.select([master], [], [], LIMIT_S)
        if not ready:
            return printed.decode("utf-8", "replace")
        try:
            data = os.read(master, 65536)
        except OSError:  # the other end is closed
            data = b""
        if not data:
            return printed.decode("utf-8", "replace")
        printed += data
        if left and printed.rstrip().endswith(b"[y/N]:"):
            os.write(master, left.pop(0).encode() + b"\n")
