"""A user types commands while talking, line by line, at a real terminal."""

from __future__ import annotations

import sys

from pancode.kernel.errors import ExitCode
from tests.integration.faces.conftest import Shell
from tests.terminal import Terminal


def test_commands_answer_beside_the_talk(standing: Shell) -> None:
    run = standing("dispatch", "--detach", "--workspace", "none", "slow 2").out.split()[0]
    argv = [sys.executable, "-m", "pancode", "attach", "--plain", run]
    terminal = Terminal(argv, standing.environ(), standing.cwd, (24, 100))
    try:
        terminal.shows("> ")
        for typed, shown in (
            ("/runs 5", f"{run}  "),
            ("/cost", "this session: "),
            ("/metrics", "coordinator  "),
            ("/why", "mutation"),
            ("/rns", "/runs?"),
            ("/help", "/stoprun"),
        ):
            terminal.types(f"{typed}\n")
            terminal.shows(shown)
        terminal.types("/quit\n")
        assert terminal.ends() == 0
    finally:
        terminal.close()
    assert standing("runs", "--json").data["runs"][0]["run"] == run, "no words began another one"


def test_first_words_that_are_a_command_are_no_words(standing: Shell) -> None:
    run = standing("dispatch", "--detach", "--workspace", "none", "slow 2").out.split()[0]
    told = standing("chat", "/runs")
    assert told.status == 0 and run in told.err
    assert "session has not started" in standing("chat", "/end").err
    assert standing("attach", "--once", run, "/why").err.startswith(run)
    assert standing("attach", run, "/rns").status == standing("chat", "/rns").status == ExitCode.USAGE
    assert standing("runs", "--json").data["runs"][0]["run"] == run, "no words began another one"
