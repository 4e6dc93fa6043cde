"""`pancode top` in a real tmux before a live fleet: keys, a stop, a lost coordinator, a restored terminal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.crowd import crowded
from tests.e2e.ground import kill_coordinator
from tests.e2e.owner import Owner

pytestmark = pytest.mark.slow
_NUMBERS = count()
"""A tmux that ends does not hinder the next one."""


class Pane:
    """A shell in a tmux of its own, 80 x 24."""

    def __init__(self, fleet: Owner) -> None:
        tmux = shutil.which("tmux")
        assert tmux is not None
        self._base = [tmux, "-L", f"pancode-top-{os.getpid()}-{next(_NUMBERS)}", "-f", "/dev/null"]
        self._home = fleet.home
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
        """A line for the shell."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def modes(self) -> str:
        """Alternate screen, cursor, mouse: 0 1 0 in a shell."""
        return self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}").strip()

    def shows(self, words: str, timeout_s: float = 30) -> str:
        end = time.monotonic() + timeout_s * crowded()
        while words not in (shown := self.screen()):
            assert time.monotonic() < end, f"{words!r} did not come:\n{shown}"
            time.sleep(0.1)
        return shown

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


@pytest.fixture
def pane(fleet: Owner) -> Iterator[Pane]:
    made = Pane(fleet)
    try:
        yield made
    finally:
        made.close()


def test_a_person_looks_stops_a_run_and_leaves(fleet: Owner, pane: Pane) -> None:
    words = ("--runtime", "shell", "--workspace", "none", "--node", "node1")
    run = fleet.dispatch(*words, "echo '[red]it\x1b[2J works'; sleep 600")
    fleet.running(run)
    pane.types(" ".join(fleet.argv("top")))
    assert "as of" in pane.shows(run) and "machines" in pane.screen()
    pane.press("/")
    pane.press("-l", run)
    pane.press("Enter")
    pane.press("Enter")
    pane.shows("STORY")
    pane.press("l")
    pane.shows("[red]it works")
    pane.press("Escape")
    pane.shows("STORY")
    pane.press("s")
    pane.shows(f"Stop run {run}: shell on node1")
    pane.press("y")
    assert fleet.ended(run)["outcome"] == "interrupted"
    pane.shows("interrupted")
    pane.press("q")
    pane.is_a_shell_again()
    assert pane.modes() == "0 1 0"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_restores_the_terminal(fleet: Owner, pane: Pane, sent: signal.Signals) -> None:
    pane.types("stty -g > before")
    pane.types(" ".join(fleet.argv("top", "machines")))
    pane.shows("node1")
    assert pane.modes().startswith("1")
    os.kill(pane.child(), sent)
    end = time.monotonic() + 20 * crowded()
    while pane.modes() != "0 1 0":
        assert time.monotonic() < end, pane.screen()
        time.sleep(0.1)
    pane.types("echo status $?; stty -g | cmp - before && echo as it was; rm before")
    told = pane.shows("as it was\n")
    assert f"status {128 + sent}" in told


def test_a_coordinator_that_goes_looks_unlike_an_idle_fleet(fleet: Owner, pane: Pane) -> None:
    pane.types(" ".join(fleet.argv("top", "machines")))
    pane.shows("node1")
    kill_coordinator(fleet)
    assert "node1" in pane.shows("COORDINATOR NOT REACHED"), "what was known stays in sight"
    fleet.state("node1")  # starts another one
    end = time.monotonic() + 30 * crowded()
    while "NOT REACHED" in pane.screen():
        assert time.monotonic() < end, pane.screen()
        time.sleep(0.2)
    pane.press("q")
    pane.is_a_shell_again()


def test_without_a_terminal_it_says_what_to_use(fleet: Owner) -> None:
    said = fleet.run("top")
    assert said.code == 2 and "pancode fleet status" in said.err
    assert fleet.run("top", "nosuch").code == 2
