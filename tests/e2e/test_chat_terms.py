"""Mode and level are changed by keys in a real tmux, and hold a hostile agent on a live fleet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clis.hands import HANDS
from tests.e2e.owner import Owner, until
from tests.e2e.pane import Pane
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, project
from tests.e2e.test_chat_screen import CLI, says, session
from tests.e2e.test_programs import K
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_keys_change_mode_and_level_and_the_agent_is_held_to_them(fleet: Owner, lab: Lab) -> None:
    """It takes more than 30 s: three interactive runs on a real host, and a user who reads before typing."""
    top, shell, write = project(fleet, "chat-terms"), HANDS["native"].shell, HANDS["native"].write
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    turns: list[dict[str, Any]] = [
        *(write("built.txt", "by build\n"), says("Built it.")),
        *(write("evil.txt", "x\n"), shell("echo x > evil.txt"), says("I only read now.")),
        *(shell("rm -f built.txt"), says("Gone.")),
    ]
    words = ("--agent", "builder", "--runtime", "native", "--model", CLI.model, "--node", f"node{K}")
    pane = Pane(fleet, top)

    try:
        with installed(lab, "native", [K]), model_on(lab, K, {"count": "assistant", "turns": turns}):
            give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
            await_state(fleet, K, "native", "ok")
            pane.types(" ".join(fleet.argv("chat", *words)))
            pane.shows("build Shift-Tab")
            pane.types("build it")
            pane.shows("Built it.", 90)
            pane.press("BTab")
            pane.shows("review with your next message")
            pane.shows("suspended; your message continues it", 90)
            pane.types("and now review it")
            pane.shows("I only read now.", 90)
            pane.shows("review Shift-Tab")
            pane.press("BTab", "BTab", "C-y")
            pane.shows("raises the safety level", 60)
            pane.agrees(lambda: session(fleet)["next"] is not None)
            pane.shows("full-auto Ctrl-Y")
            pane.shows("suspended; your message continues it", 90)
            pane.types("take it away")
            pane.shows("Gone.", 90)
            pane.press("C-d")
            pane.is_a_shell_again()
            run = session(fleet)["session"]
            fleet.run("sessions", "end", run).ok()
            until(lambda: session(fleet)["state"] == "ended", "it has ended", 60)
    finally:
        pane.close()
    told = session(fleet)
    runs = [fleet.ask("runs", "show", one["run"]) for one in told["interactive_runs"]]
    terms = [(one["mode"], one["safety"]) for one in runs]
    assert terms == [("build", "auto-edit"), ("review", "auto-edit"), ("build", "full-auto")]
    assert [one["outcome"] for one in told["interactive_runs"]] == ["done", "done", "done"]
    built, reviewed, _ = (one["commit"] for one in told["interactive_runs"])
    assert built is not None and reviewed is None, "in review nothing was written"
    assert "evil.txt" not in fleet.run("runs", "diff", run).ok().out
