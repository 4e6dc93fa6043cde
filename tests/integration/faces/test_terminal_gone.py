"""A terminal that is closed under a chat or a screen ends the command, and ends nothing else."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest

from pancode.kernel.errors import ExitCode
from tests.integration.faces.conftest import Shell
from tests.terminal import Terminal

FACES = {
    "chat": (("chat",), "describe the task"),
    "chat --plain": (("chat", "--plain"), "> "),
    "attach": (("attach", "RUN"), "Ctrl-D"),
    "attach --plain": (("attach", "--plain", "RUN"), "> "),
    "top": (("top",), "as of"),
}


def _closed(terminal: Terminal) -> None:
    terminal.goes_away()


def _told(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGHUP)


WAYS: dict[str, tuple[bool, Callable[[Terminal], None]]] = {
    "closed": (True, _closed),
    "signal": (True, _told),
    "no signal": (False, _closed),
}
CASES = (
    ("chat", "closed"),
    ("chat", "no signal"),
    ("chat --plain", "no signal"),
    ("attach", "no signal"),
    ("attach --plain", "closed"),
    ("attach --plain", "signal"),
    ("attach --plain", "no signal"),
    ("top", "no signal"),
)


@pytest.fixture(scope="module")
def run(standing: Shell) -> str:
    """One that works, and says so all the time."""
    return standing("dispatch", "--detach", "--workspace", "none", "hang").out.split()[0]


@pytest.mark.parametrize(("face", "way"), CASES)
def test_who_loses_the_terminal_has_left(standing: Shell, run: str, face: str, way: str) -> None:
    words, shown = FACES[face]
    hears, goes = WAYS[way]
    argv = [sys.executable, "-m", "pancode", *(run if one == "RUN" else one for one in words)]
    terminal = Terminal(argv, standing.environ(), standing.cwd, (24, 80), hears=hears)
    try:
        terminal.shows(shown)
        goes(terminal)
        assert terminal.process.wait(60) == ExitCode.DETACHED
    finally:
        terminal.close()
    assert standing("runs", "show", run, "--json").data["outcome"] != "interrupted"
