"""What one run leaves is found, given to the next one with its source, and forgotten, over a real host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clis.launched import EVERY
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, project
from tests.lab import Lab

pytestmark = pytest.mark.slow

K = 1
CLI = next(cli for cli in EVERY if cli.runtime == "native")
REPORT = (
    "SCOPE: the limiter\nFILES CHANGED: none\nRESULT: one limit for each key\n"
    "DECIDED: 429 carries Retry-After\nOPEN: the docs"
)


def answering(text: str) -> dict[str, Any]:
    return {"turns": [{"text": text, "usage": {"input": 1200, "output": 34}}]}


def asked_in(log: Path) -> str:
    return max((log.parent / "bodies").iterdir()).read_text()


def test_a_note_is_left_found_given_and_forgotten(fleet: Owner, lab: Lab) -> None:
    top = project(fleet, "remembered")
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    words = ("--runtime", "native", "--model", CLI.model, "--node", f"node{K}", "--budget", "0.50")

    def run(task: str, answer: str) -> tuple[str, str]:
        with model_on(lab, K, answering(answer)) as log:
            said = fleet.ask("dispatch", *words, task, cwd=top)
            assert said["outcome"] == "done", said
            return str(said["run"]), asked_in(log)

    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        first, told = run("Build the limiter.", REPORT)
        assert "earlier runs" not in told
        (note,) = fleet.ask("history", "retry-after", "limiter", cwd=top)["notes"]
        assert (note["run"], note["parts"]["OPEN"]) == (first, "the docs")
        assert "DECIDED: 429 carries Retry-After" in fleet.run("history", "show", first).ok().out

        second, told = run("Document the limiter.", "Nothing to report.")
        assert f"Run {first} of " in told and "429 carries Retry-After" in told
        shown = fleet.ask("agents", "prompt", second)
        assert f"Run {first} of " in shown["text"]
        assert f"notes of {first}" in fleet.run("why", second).ok().out
        assert fleet.ask("receipt", "verify", second)["verdict"] == "PASS"

        assert fleet.run("history", "forget", first, cwd=top).ok().out == "forgotten: 1 note\n"
        _, told = run("Test the limiter.", "Nothing to report.")
        assert first not in told and "429 carries Retry-After" not in told
        assert fleet.ask("history", cwd=top)["notes"] == []


def test_the_next_item_of_a_lane_on_another_host_is_told_what_was_before_it(fleet: Owner, lab: Lab) -> None:
    top = project(fleet, "in-line")
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    words = ("--runtime", "native", "--model", CLI.model, "--budget", "0.50")
    says = {1: REPORT, 2: "I looked around, and the limiter is in shop.py."}
    fleet.run("lane", "create", "line", *words, cwd=top).ok()
    told: dict[int, str] = {}
    with installed(lab, "native", [1, 2]):
        for k in says:
            give_secrets(lab, k, {name: value for name, value in given.items() if "RETRIES" not in name})
            await_state(fleet, k, "native", "ok")
        for task, k in (("Look around.", 2), ("Build the limiter.", 1), ("Document it.", 2)):
            with model_on(lab, k, answering(says[k])) as log:
                fleet.run("lane", "add", "line", task, "--node", f"node{k}").ok()
                until(lambda: fleet.ask("lane", "show", "line")["left"] == 0, "the item is done", 120)
                told[len(told)] = asked_in(log)
    assert "earlier runs" not in told[0]
    assert "in this lane" in told[1] and "REPORT: I looked around, and the limiter is in shop.py." in told[1]
    assert "429 carries Retry-After" in told[2] and "the limiter is in shop.py" in told[2]
    shown = fleet.run("history", "find", "--told", "--lane", "line").ok().out
    assert "of 800 tokens" in shown and shown.index("Document it.") < shown.index("Build the limiter.")
    history = fleet.ask("history", "find", "--lane", "line")["notes"]
    assert [note["task"] for note in history] == ["Document it.", "Build the limiter.", "Look around."]
    assert fleet.git(top, "status", "--porcelain") == ""
    fleet.run("lane", "rm", "line").ok()
