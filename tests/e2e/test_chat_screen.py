"""`pancode chat` in a real tmux before a live fleet: talk, a question, a cancel, leave, come back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.clis.hands import HANDS
from tests.clis.launched import EVERY
from tests.e2e.owner import Owner, until
from tests.e2e.pane import Pane
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, project
from tests.e2e.test_people import ASKING
from tests.e2e.test_programs import K
from tests.lab import Lab

pytestmark = pytest.mark.slow
CLI = next(cli for cli in EVERY if cli.runtime == "native")
HOSTILE = "Made **it**.\x1b[2J\x1b]52;c;AAAA\x07 [red]loud[/red]"


def says(text: str) -> dict[str, Any]:
    return {"text": text, "usage": {"input": 1200, "output": 34}}


def session(fleet: Owner) -> dict[str, Any]:
    shown: dict[str, Any] = fleet.ask("sessions", "show", "last")
    return shown


def test_a_user_talks_answers_cancels_leaves_and_comes_back(fleet: Owner, lab: Lab) -> None:
    """It takes more than 30 s: an interactive run on a real host, and a user who reads before typing."""
    top, shell = project(fleet, "chat-screen"), HANDS["native"].shell
    (top / "pansafety.yaml").write_text(ASKING)
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    turns = [shell("printf asked-%s 1 > yes.txt"), says(HOSTILE), shell("sleep 600"), says("After that.")]
    words = ("--runtime", "native", "--model", CLI.model, "--node", f"node{K}", "--safety", "full-auto")
    pane = Pane(fleet, top)
    try:
        with installed(lab, "native", [K]), model_on(lab, K, {"count": "assistant", "turns": turns}):
            give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
            await_state(fleet, K, "native", "ok")
            pane.types(" ".join(fleet.argv("chat", "--agent", "builder", *words, "--budget", "0.50")))
            pane.shows("describe the task")
            pane.types("make a file")
            pane.shows("the agent requests to run this", 90)
            assert "printf asked-%s 1 > yes.txt" in pane.screen()
            pane.press("Tab")
            pane.shows("y allow once")
            time.sleep(1.5)  # a card takes no answer in its first second
            pane.press("y")
            pane.shows("Made it.<U+001B>[2J<U+001B>]52;c;AAAA<U+0007> [red]loud[/red]", 60)
            pane.shows("your turn")
            pane.types("and now sleep")
            pane.shows("sleep 600", 60)
            pane.press("Escape")
            pane.shows("ended: cancelled", 60)
            pane.shows("your turn")
            pane.press("C-d")
            pane.shows("come back: pancode attach")
            pane.is_a_shell_again()
            assert pane.modes() == "0 1 0"
            assert session(fleet)["state"] == "waits for you", "who leaves ends nothing"
            run = session(fleet)["session"]
            pane.types(" ".join(fleet.argv("attach", run)))
            assert "ended: cancelled" in pane.shows("and now sleep")
            pane.types("go on")
            pane.shows("After that.", 60)
            pane.types("/end")
            pane.shows("ended; your message starts it again", 60)
            pane.press("C-d")
            pane.is_a_shell_again()
            until(lambda: session(fleet)["state"] == "ended", "it has ended", 60)
    finally:
        pane.close()
    assert [one["turns"] for one in session(fleet)["interactive_runs"]] == [3]
    assert "yes.txt" in fleet.run("runs", "diff", run).ok().out
