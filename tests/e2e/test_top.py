"""`pancode top` in a real tmux before a live fleet: keys, a stop, a lost coordinator, a restored terminal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.clis.launched import EVERY
from tests.crowd import crowded, until
from tests.e2e.ground import kill_coordinator
from tests.e2e.owner import Owner
from tests.e2e.pane import Pane
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on
from tests.e2e.test_programs import K
from tests.lab import Lab

pytestmark = pytest.mark.slow


@pytest.fixture
def pane(fleet: Owner) -> Iterator[Pane]:
    made = Pane(fleet)
    try:
        yield made
    finally:
        made.close()


def test_a_user_looks_stops_a_run_and_leaves(fleet: Owner, pane: Pane) -> None:
    words = ("--runtime", "shell", "--workspace", "none", "--node", "node1")
    run = fleet.dispatch(*words, "echo '[red]it\x1b[2J works'; sleep 600")
    fleet.running(run)
    pane.types(" ".join(fleet.argv("top")))
    assert "as of" in pane.shows("echo '[red]it") and "nodes" in pane.screen()
    pane.press("/")
    pane.press("-l", run)
    pane.shows(f"/{run}")
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
    pane.shows("stopped")
    pane.press("q")
    pane.is_a_shell_again()
    assert pane.modes() == "0 1 0"


def test_enter_talks_with_a_session_and_comes_back(fleet: Owner, lab: Lab, pane: Pane) -> None:
    cli = next(one for one in EVERY if one.runtime == "native")
    given = cli.env(f"http://127.0.0.1:{PORT}")
    where = ("--runtime", "native", "--model", cli.model, "--node", f"node{K}", "--workspace", "none")
    answer = {"text": "The linker is.", "usage": {"input": 1200, "output": 34}}
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"turns": [answer]}):
            fleet.run("chat", "--agent", "builder", *where, stdin="what is slow?\n", timeout_s=120).ok()
            session = fleet.ask("sessions", "show", "last")["session"]
            pane.types(" ".join(fleet.argv("top", "sessions")))
            pane.shows("waits for you")
            pane.press("Enter")
            pane.shows("The linker is.")
            pane.press("C-d")
            pane.shows("WORDS")
            pane.shows(session)
            pane.press("q")
            pane.is_a_shell_again()
            assert pane.modes() == "0 1 0"
            fleet.run("sessions", "end", session).ok()


@pytest.mark.parametrize(
    ("sent", "status"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 130), (signal.SIGINT, 130)],
)
def test_a_signal_restores_the_terminal(fleet: Owner, pane: Pane, sent: signal.Signals, status: int) -> None:
    pane.types("stty -g > before")
    pane.types(" ".join(fleet.argv("top", "nodes")))
    pane.shows("node1")
    assert pane.modes().startswith("1")
    os.kill(pane.child(), sent)
    end = time.monotonic() + 20 * crowded()
    while pane.modes() != "0 1 0":
        assert time.monotonic() < end, pane.screen()
        time.sleep(0.1)
    pane.types("echo status $?; stty -g | cmp - before && echo as it was; rm before")
    told = pane.shows("as it was\n")
    assert f"status {status}" in told


def test_the_theme_that_was_set_is_drawn_and_its_origin_is_shown(fleet: Owner, pane: Pane) -> None:
    fleet.run("config", "set", "theme", "dark").ok()
    try:
        shown = fleet.run("config", "show", "--origin", "theme").ok().out
        assert "dark" in shown and "settings.json" in shown
        pane.types(" ".join(("COLORTERM=truecolor", *fleet.argv("top", "nodes"))))
        pane.shows("node1")
        until(lambda: "48;2;14;16;19" in pane.screen(colours=True), "the ground of the theme", 20)
        pane.press("q")
        pane.is_a_shell_again()
    finally:
        fleet.run("config", "unset", "theme").ok()


def test_a_coordinator_that_goes_looks_unlike_an_idle_fleet(fleet: Owner, pane: Pane) -> None:
    pane.types(" ".join(fleet.argv("top", "nodes")))
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
    assert said.code == 2 and "pancode node ls" in said.err
    assert fleet.run("top", "nosuch").code == 2
