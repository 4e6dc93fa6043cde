"""A real terminal: a shell in a tmux of its own, 80 x 24."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.crowd import patience, until
from tests.e2e.owner import Owner

_NUMBERS = count()
"""A tmux that ends does not hinder the next one."""


class Pane:
    """A shell in a tmux of its own, 80 x 24."""

    def __init__(self, fleet: Owner, folder: Path | None = None) -> None:
        tmux = shutil.which("tmux")
        assert tmux is not None
        self._base = [tmux, "-L", f"pancode-{os.getpid()}-{next(_NUMBERS)}", "-f", "/dev/null"]
        self._home = folder or fleet.home
        self._env = {**fleet.env, "TERM": "xterm-256color", "ENV": "", "PS1": "> "}
        self._tmux("new-session", "-d", "-x", "80", "-y", "24", "sh")
        self.is_a_shell_again()

    def _tmux(self, *words: str) -> str:
        argv = [*self._base, *words]
        done = subprocess.run(
            argv, cwd=self._home, env=self._env, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout

    def types(self, text: str) -> None:
        """A line, and Enter."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def screen(self, colours: bool = False) -> str:
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def modes(self) -> str:
        """Alternate screen, cursor, mouse: 0 1 0 in a shell."""
        return self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}").strip()

    def shows(self, words: str, timeout_s: float = 30) -> str:
        end = time.monotonic() + patience(timeout_s)
        while words not in (shown := self.screen()):
            assert time.monotonic() < end, f"{words!r} did not come:\n{shown}"
            time.sleep(0.1)
        return shown

    def agrees(self, heard: Callable[[], object]) -> None:
        """Say yes to the card until it is heard: a card takes no key in its first moment."""

        def says_yes() -> bool:
            self.press("y")
            return bool(heard())

        self.press("Tab")
        self.shows("Esc back")
        until(says_yes, "the yes is heard", 60)

    def is_a_shell_again(self) -> None:
        """The shell runs what is typed."""
        self.types("echo a''gain")
        self.shows("again")

    def child(self) -> int:
        """What the shell runs."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def close(self) -> None:
        subprocess.run([*self._base, "kill-server"], capture_output=True, check=False, timeout=30)
