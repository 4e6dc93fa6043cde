"""People in the loop, over real hosts and the real command line: runs that are continued."""

from __future__ import annotations

import pytest

from tests.e2e.owner import Owner, script

pytestmark = pytest.mark.slow


def test_a_run_is_continued_on_another_machine_and_the_chain_lands_as_one(fleet: Owner) -> None:
    top = fleet.repository("continued")
    task = script("append made.txt 'once\\n'")
    first = fleet.ask("dispatch", "--runtime", "scripted", "--require", "rack=a", task, cwd=top)["run"]
    second = fleet.run("runs", "continue", first, "--json", cwd=top).ok().json()
    assert (second["outcome"], second["continues"]) == ("done", first)
    third = fleet.ask("runs", "continue", second["run"], cwd=top)
    shown = fleet.show(third["run"])
    assert (shown["chain"], shown["session"]) == ([second["run"], first], "new")
    assert fleet.show(first)["continued_by"] == [second["run"]]
    assert fleet.ask("receipt", "verify", third["run"])["verdict"] == "PASS"
    assert fleet.run("runs", "diff", third["run"]).ok().out.count("\n+once") == 3
    assert f"continues  {second['run']}, {first}" in fleet.run("runs", "show", third["run"]).ok().out
    fleet.run("runs", "land", second["run"], cwd=top).ok()
    assert (top / "made.txt").read_text() == "once\nonce\n"
    assert fleet.run("runs", "diff", third["run"]).ok().out.count("\n+once") == 1, "without what has landed"
    fleet.run("runs", "land", third["run"], cwd=top).ok()
    assert (top / "made.txt").read_text() == "once\nonce\nonce\n"


def test_what_cannot_be_continued_says_why(fleet: Owner) -> None:
    plain = ("--runtime", "shell", "--node", "node2", "--workspace", "none")
    run = fleet.dispatch(*plain, "sleep 600")
    fleet.running(run)
    said = fleet.run("runs", "continue", run)
    assert said.code == 2 and f"pancode runs stop {run}" in said.err
    fleet.run("runs", "stop", run).ok()
    fleet.ended(run)
    words = fleet.run("runs", "continue", run, "and more")
    assert words.code == 2 and "takes no words" in words.err
