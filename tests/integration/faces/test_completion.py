"""Tab in the real shells: bash and zsh on a terminal of their own, fish by its own question."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pancode.interfaces.cli import completions
from tests.crowd import crowded
from tests.integration.faces.conftest import Shell
from tests.integration.faces.listening import Listening

BIN = Path(sys.executable).parent
PATIENCE_S = 60
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set enable-bracketed-paste off'; PS1='> '"),
    "zsh": (["zsh", "-f", "-i"], "unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u; PS1='> '"),
}
ASKED = [
    ("pancode fle", "pancode fleet"),
    ("pancode fleet dra", "pancode fleet drain"),
    ("pancode dispatch --safety full", "pancode dispatch --safety full-auto"),
    ("pancode runs --js", "pancode runs --json"),
    ("pancode completion z", "pancode completion zsh"),
]


class Terminal:
    """A shell on a terminal, as a user has it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.seen = ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.descriptor, text.encode())

    def until(self, wanted: str) -> None:
        """What a shell draws may have moves of the cursor in it."""
        end = time.monotonic() + PATIENCE_S * crowded()
        while wanted not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07|\x08", "", self.seen):
            assert time.monotonic() < end, f"{wanted!r} was not seen in {self.seen!r}"
            if select.select([self.descriptor], [], [], 1)[0]:
                self.seen += os.read(self.descriptor, 4096).decode(errors="replace")


@contextmanager
def terminal(shell: str, env: dict[str, str]) -> Iterator[Terminal]:
    argv, setting = START[shell]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True
    )
    os.close(theirs)
    try:
        opened = Terminal(ours)
        opened.type(f"{setting}; eval \"$(pancode completion {shell})\"; echo rea''dy\n")
        opened.until("ready")
        yield opened
    finally:
        process.kill()
        process.wait(10 * crowded())
        os.close(ours)


@pytest.fixture
def person(tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TERM": "vt100",
        "COLUMNS": "200",
        "LANG": "C.UTF-8",
    }


@pytest.mark.slow
@pytest.mark.parametrize("shell", START)
def test_tab_on_a_terminal(shell: str, person: dict[str, str]) -> None:
    with terminal(shell, person) as opened:
        for typed, wanted in ASKED:
            opened.type(f"{typed}\t")
            opened.until(wanted)
            opened.type("\x15")  # Ctrl-U: the line away


@pytest.mark.slow
def test_fish_is_told_the_same_and_what_each_is_for(person: dict[str, str]) -> None:
    fish = shutil.which("fish")
    assert fish is not None, "sudo apt-get install fish"
    for typed, wanted in ASKED:
        script = f"pancode completion fish | source; complete -C '{typed}'"
        done = subprocess.run(
            [fish, "-N", "-c", script], env=person, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.partition("\n")[0].partition("\t")[0] == wanted.split()[-1], done
    assert "all nodes at once" in _complete(person, "fish", "fle", 1)


@pytest.mark.parametrize(
    "words", ["pancode nosuch ", "pancode chat ", "pancode runs nosuch ", "pancode why "]
)
def test_where_nothing_can_be_told_nothing_is_said(words: str, person: dict[str, str]) -> None:
    """No error among what somebody types; and no coordinator is started for it."""
    done = _ask(person, words, len(words.split(" ")) - 1)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert not Path(person["HOME"], ".pancode").exists()


NAMES = {
    "pancode dispatch --agent bui": "builder",
    "pancode agents show ": "builder",
    "pancode dispatch --preset ": "local",
    "pancode config use lo": "local",
    "pancode dispatch --runtime ": "shell",
    "pancode node login thicket cl": "claude",
    "pancode policy show --matrix cod": "codex",
}


@pytest.mark.slow
def test_runs_and_machines_of_a_coordinator_that_runs(pancode: Shell, person: dict[str, str]) -> None:
    """The dispatch brings the node up, so it is removed at the end."""
    assert pancode("node", "add", "thicket", "--local").status == 0
    try:
        env = {**person, "PANCODE_HOME": str(pancode.home)}
        assert "plain,thicket" in _ask(env, "pancode fleet drain ", 3).stdout.split()
        assert _ask(env, "pancode node show th", 3).stdout.split() == ["plain,thicket"]
        for words, wanted in NAMES.items():
            assert f"plain,{wanted}" in _ask(env, words, len(words.split(" ")) - 1).stdout.split(), words
        sent = pancode("dispatch", "--runtime", "shell", "--workspace", "none", "--detach", "--json", "true")
        runs = _ask(env, "pancode runs show ", 3).stdout.split()
        assert runs == [f"plain,{sent.data['run']}", "plain,last"], sent
    finally:
        assert pancode("node", "rm", "thicket", "--yes").status == 0


class Mute(Listening):
    """A coordinator that takes a question and never answers."""

    def __init__(self, home: Path) -> None:
        self.kept: list[socket.socket] = []
        super().__init__(home)

    def _heard(self, peer: socket.socket, said: list[bytes]) -> None:
        self.asked.append(said[1])
        self.kept.append(peer)


def test_a_coordinator_that_does_not_answer_holds_no_shell_up(tmp_path: Path, person: dict[str, str]) -> None:
    mute = Mute(tmp_path)
    begun = time.monotonic()
    done = _ask({**person, "PANCODE_HOME": str(tmp_path)}, "pancode runs show ", 3)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert time.monotonic() - begun < (completions.PATIENCE_S + 8) * crowded()
    assert mute.asked == [b"/v1/runs?limit=50"]
    mute.end()
    for peer in mute.kept:
        peer.close()


def _ask(env: dict[str, str], words: str, word: int) -> subprocess.CompletedProcess[str]:
    env = {**env, "COMP_WORDS": words, "COMP_CWORD": str(word), "_PANCODE_COMPLETE": "bash_complete"}
    return subprocess.run([BIN / "pancode"], env=env, capture_output=True, text=True, timeout=60 * crowded())


def _complete(env: dict[str, str], shell: str, start: str, word: int) -> str:
    env = {**env, "COMP_WORDS": "pancode", "COMP_CWORD": start, "_PANCODE_COMPLETE": f"{shell}_complete"}
    return subprocess.run(
        [BIN / "pancode"], env=env, capture_output=True, text=True, timeout=60 * crowded()
    ).stdout
