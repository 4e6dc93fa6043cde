"""A run whose provider turns it away in the middle continues when the limit resets: same files, same talk."""

from __future__ import annotations

from tests.clis.launched import NATIVE
from tests.e2e.ground import kill_coordinator
from tests.e2e.owner import Owner, until
from tests.e2e.programs import (
    PORT,
    await_state,
    give_prices,
    give_secrets,
    installed,
    model_on,
    project,
    requests_in,
)
from tests.lab import Lab

THERE = 2
MADE = "half\n"
RESET_S = 31
"""Just longer than the worker itself waits for a provider."""
TURNS = [
    {"tool": "write", "args": {"path": "${cwd}/made.txt", "content": MADE}},
    {"text": "I continued.", "fault": {"status": 429, "retry_after": RESET_S, "times": 1}},
]


def test_a_run_goes_on_after_the_limit_of_its_provider(fleet: Owner, healed: Lab) -> None:
    """It takes more than 30 s: the limit itself, and a start of a coordinator meanwhile."""
    top = project(fleet, "limited")
    with (
        installed(healed, "native", [THERE]),
        model_on(healed, THERE, {"count": "assistant", "turns": TURNS}) as log,
    ):
        give_secrets(healed, THERE, dict(NATIVE.env(f"http://127.0.0.1:{PORT}")))
        give_prices(healed, THERE, {NATIVE.model: "1 1 1 1"})
        await_state(fleet, THERE, "native", "ok")
        where = ("--node", f"node{THERE}", "--runtime", "native", "--model", NATIVE.model)
        run = fleet.ask("dispatch", "--detach", *where, "--verify", "test -f made.txt", "Make it.", cwd=top)[
            "run"
        ]
        until(lambda: "limited until" in fleet.show(run)["reason"], "the run waits for the limit", 90)
        assert fleet.ask("fleet", "status")["nodes"][THERE]["slots"]["used"] == 0, (
            "its slot is free meanwhile"
        )
        kill_coordinator(fleet)
        until(lambda: fleet.show(run)["outcome"], "its run ends", 120)
        shown = fleet.show(run)
        assert (shown["outcome"], shown["attempt"], shown["files_changed"]) == ("done", 2, ["made.txt"]), (
            shown
        )
        asked = requests_in(log)
    assert len(asked) == 3, "what it had done was not done again"
    assert "continues" in fleet.run("why", run).ok().out
    assert "PASS" in fleet.run("receipt", "verify", run).ok().out
    fleet.run("land", run, cwd=top, timeout_s=120).ok()
    assert (top / "made.txt").read_text() == MADE
