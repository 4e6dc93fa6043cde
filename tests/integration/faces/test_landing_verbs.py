"""`pancode land` and `review` through the command line and a real fleet of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.faces.conftest import Shell
from tests.integration.faces.test_this_machine import LONG_S, _git, _repository, fleet
from tests.terminal import Terminal

__all__ = ["fleet"]


def _run(fleet: Shell, script: str, *more: str) -> str:
    said = fleet(
        *("dispatch", "--runtime", "shell", "--verify", "true", "--json", *more, script), timeout_s=LONG_S
    )
    assert said.status == 0, said.err
    return str(said.data["run"])


@pytest.mark.slow
def test_results_are_reviewed_and_landed_by_themselves_and_together(fleet: Shell) -> None:
    """One fleet for all of it: a fleet takes longer than each of these."""
    _repository(fleet.cwd)
    before = _git(fleet.cwd, "rev-parse", "HEAD").strip()
    dirty = _git(fleet.cwd, "status", "--short")
    one = _run(fleet, "echo one > 'b c.txt'")
    two = _run(fleet, "echo two > 'b c.txt'")
    three = _run(fleet, "echo three > d.txt")
    bare = _remote(fleet)

    # In a pipe: plain text, nothing asked.
    listed = fleet("review")
    assert listed.status == 0 and "\x1b" not in listed.out
    assert all(f"pancode land {run}" in listed.out for run in (one, two, three))
    assert listed.out.count("receipt    PASS") == 3 and "gates      true: passed" in listed.out
    assert [row["run"] for row in fleet("review", "--json").data["runs"]] == [one, two, three]

    # All of them onto a branch: the second conflicts with the first.
    refused = fleet("land", "--all-green", "--branch", "agent/all")
    assert refused.status == 2 and refused.err.count(" file") >= 3, "nobody can say yes there"
    both = fleet("land", "--all-green", "--yes", "--push", "origin", "agent/all", "--how", "rebase")
    assert both.status == 20, both.err
    assert f"{one}  landed" in both.out and f"{three}  landed" in both.out
    assert f"{two}  conflict" in both.out and f"pancode land {two} --resolve" in both.out
    assert both.out.startswith(f"{one}  landed") and "3 runs: 2 landed, 1 conflict\n" in both.out
    trailers = _git(
        fleet.cwd, "log", "-2", "--format=%(trailers:key=Pancode-Run,valueonly,separator=)", "agent/all"
    )
    assert trailers.split() == [three, one]
    assert _git(bare, "rev-parse", "agent/all") == _git(fleet.cwd, "rev-parse", "agent/all")
    assert (
        _git(fleet.cwd, "rev-parse", "HEAD").strip() == before
        and _git(fleet.cwd, "status", "--short") == dirty
    )

    # Once more: found, and said.
    again = fleet("land", one, "--branch", "agent/all")
    assert again.status == 0 and "nothing to land" in again.out and "found by ancestry" in again.out
    unnamed = fleet("land")
    assert unnamed.status == 2 and f"fix: pancode land {two}\n" in unnamed.err
    wrong = fleet("land", two, "--push", "nowhere", "agent/two", "--json")
    assert wrong.status == 7 and json.loads(wrong.err)["error"]["code"] == "not_pushed"
    assert fleet("land").out == "no landing is waiting\n"
    assert fleet("land", two, "--how", "merge").status == 2

    _at_a_terminal(fleet)


def _at_a_terminal(fleet: Shell) -> None:
    """Each with its change; one key answers."""
    four, five = _run(fleet, "echo four > four.txt"), _run(fleet, "echo five > five.txt")
    screen = Terminal([sys.executable, "-m", "pancode", "review"], fleet.environ(), fleet.cwd, (50, 120))
    try:
        screen.shows("1 of 2")
        screen.shows("+four")
        screen.shows("PASS")
        screen.shows("q quit  > ")
        screen.types("z")
        screen.shows("q quit  > ")
        screen.types("d")
        screen.shows("+four")
        screen.shows("q quit  > ")
        screen.types("l")
        screen.shows(f"{four}  landed")
        screen.shows("2 of 2")
        screen.shows("q quit  > ")
        screen.types("x")
        screen.shows(f"{five}  dropped")
        assert screen.ends() == 0 and "reviewed 2 results of 2: 1 landed, 1 dropped" in screen.told
    finally:
        screen.close()
    assert (fleet.cwd / "four.txt").read_text() == "four\n" and not (fleet.cwd / "five.txt").exists()
    assert fleet("review").out == "nothing to review here\n"


def _remote(fleet: Shell) -> Path:
    bare = fleet.cwd.parent / "far away.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    _git(fleet.cwd, "remote", "add", "origin", str(bare))
    return bare


@pytest.mark.slow
def test_a_home_of_0_1_0_that_asks_for_a_second_node_starts_and_lands_nothing_by_itself(fleet: Shell) -> None:
    _repository(fleet.cwd)
    settings = fleet.home / "pancode.yaml"
    settings.write_text("dispatch:\n  verify_on: other\n  land: when-verified\n")
    fleet("fleet", "down", "--now", timeout_s=LONG_S)
    up = fleet("fleet", "up", timeout_s=LONG_S)
    assert up.status == 0, up.err
    for said in (
        up.err,
        fleet("config", "check", "--kind", "settings").out,
        (fleet.home / "run/coordinator.log").read_text(),
    ):
        assert f"{settings}:2: dispatch.verify_on" in said, said
        assert f"{settings}:3: dispatch.land: when-verified" in said, said
    words = ("--runtime", "shell", "--verify", "true", "--land", "--json", "echo one > landed.txt")
    held = fleet("dispatch", *words, timeout_s=LONG_S).data
    assert held["landing"]["status"] == "held" and "verify_on" in held["landing"]["why"]
    assert held["landing"]["fix"] == f"pancode approve {held['run']}"
    assert not (fleet.cwd / "landed.txt").exists()
    settings.write_text("dispatch: {safety: nonsense}\n")
    assert fleet("node", "ls").status == 0, "what is shown does not depend on a file that cannot be read"
    settings.write_text("dispatch: {land: when-passed}\n")
    free = fleet("dispatch", "--runtime", "shell", "--verify", "true", "--json", "echo two > free.txt")
    assert free.data["landing"]["status"] == "landed" and (fleet.cwd / "free.txt").exists()
    assert fleet("approve", held["run"], timeout_s=LONG_S).status == 0
    assert (fleet.cwd / "landed.txt").read_text() == "one\n"
