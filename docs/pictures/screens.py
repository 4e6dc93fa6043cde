"""Plays a command that takes the whole screen, in a tmux of its own, and tells what stands there."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

COLUMNS, ROWS, LOOKS = "100", "24", 300


def screen(typed: str, words: str, folder: Path, env: Mapping[str, str]) -> str:
    """The screen with its colours, once these words stand there. TimeoutError when they do not come."""
    base = ["tmux", "-L", f"pancode-picture-{os.getpid()}", "-f", "/dev/null"]
    tmux = {**env, "TERM": "xterm-256color"}
    tmux.pop("COLUMNS", None)  # the window says how wide it is

    def ask(*rest: str) -> str:
        done = subprocess.run(
            [*base, *rest], env=tmux, cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    ask("new-session", "-d", "-x", COLUMNS, "-y", ROWS, typed)
    try:
        for _ in range(LOOKS):
            if words in ask("capture-pane", "-p"):
                return _plainer(ask("capture-pane", "-p", "-e"))
            time.sleep(0.1)
        raise TimeoutError(f"{words!r} did not come: {ask('capture-pane', '-p')}")
    finally:
        subprocess.run([*base, "kill-server"], capture_output=True, check=False)


def _plainer(shown: str) -> str:
    """With the pens that a picture knows: the default colour ends each other one."""
    return shown.replace("\x1b[49m", "").replace("\x1b[0m\x1b[39m", "\x1b[0m").replace("\x1b[39m", "\x1b[0m")
