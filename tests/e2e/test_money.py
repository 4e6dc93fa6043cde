"""Money over real hosts through the command line: what runs have cost, ceilings, who works."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from pancode.kernel.errors import ExitCode
from tests.e2e.owner import Owner, script

pytestmark = pytest.mark.slow


def paid(fleet: Owner, top: Path, node: str, *acts: str) -> dict[str, object]:
    words = ("dispatch", "--runtime", "scripted", "--node", node, "--budget", "0.05", "--json", script(*acts))
    run: dict[str, object] = fleet.run(*words, cwd=top).json()
    return run


def test_cost_of_done_failed_and_unknown_runs_is_that_of_the_books(fleet: Owner) -> None:
    before = {by: Decimal(fleet.ask("cost", "--by", by)["total"]["usd"]) for by in ("run", "node", "day")}
    top = fleet.repository("paid")
    done = paid(fleet, top, "node1", "usage 100 20 0.03")
    broken = paid(fleet, top, "node2", "usage 100 20 0.02", "exit 3")
    unknown = paid(fleet, top, "node1", "usage 100 20 unknown")
    assert done["outcome"] == "done" and broken["outcome"] != "done"
    for by, was in before.items():
        assert Decimal(fleet.ask("cost", "--by", by)["total"]["usd"]) - was == Decimal("0.05"), by
    rows = {row["key"]: row for row in fleet.ask("cost", "-n", "1000")["rows"]}
    assert (rows[broken["run"]]["usd"], rows[unknown["run"]]["unknown_runs"]) == ("0.02", 1)
    days = sum(
        Decimal(scope["spent_usd"])
        for scope in fleet.ask("budget", "show", "--all")["scopes"]
        if scope["scope"].startswith("day:")
    )
    assert Decimal(fleet.ask("cost", "--by", "repository")["total"]["usd"]) == days
    said = fleet.run("cost", "--by", "node", "--since", "1h", "--csv").ok().out
    assert {"node1", "node2"} <= {row["node"] for row in csv.DictReader(io.StringIO(said))}
    assert "total" in fleet.run("cost", "--by", "model").ok().out
    assert fleet.run("cost", "--by", "modle").code == ExitCode.NOT_FOUND
    working = {(w["agent"], w["runtime"], w["node"]) for w in fleet.ask("workers")["workers"]}
    assert ("builder", "scripted", "node1") in working
    assert "node1" in fleet.run("workers").ok().out
    fleet.run("budget", "settle", str(unknown["run"]), "--usd", "0.01").ok()
    assert Decimal(fleet.ask("cost")["total"]["usd"]) - before["run"] == Decimal("0.06")


def test_a_repository_over_its_ceiling_takes_no_more_and_says_so(fleet: Owner) -> None:
    top = fleet.repository("dear")
    fleet.run("budget", "set", "0.10", "--scope", "repo:.", cwd=top).ok()
    words = ("dispatch", "--runtime", "claude", "--budget", "0.20", "--dry-run", "look")
    refused = fleet.run(*words, cwd=top)
    assert refused.code == ExitCode.REFUSED and "ceiling: $0.10" in refused.out + refused.err
    assert fleet.run("budget", "set", "5", "--scope", "fortnight").code == ExitCode.USAGE
    fleet.run("budget", "set", "none", "--scope", "repo:.", cwd=top).ok()
    fleet.run("budget", "set", "100", "--scope", "week").ok()
    scopes = [scope["scope"].partition(":")[0] for scope in fleet.ask("budget", "show")["scopes"]]
    assert "week" in scopes
    fleet.run("budget", "set", "none", "--scope", "week").ok()


def test_a_brief_says_what_happened_once_and_the_audit_is_whole(fleet: Owner) -> None:
    fleet.run("brief").ok()
    top = fleet.repository("briefed")
    made = paid(fleet, top, "node1", "write made.txt new", "usage 1 1 0.01")
    told = fleet.ask("brief", "--since", "10m")
    assert f"pancode land {made['run']}" in [line["command"] for line in told["waits"]]
    fleet.run("runs", "land", str(made["run"]), cwd=top).ok()
    text = fleet.run("brief", "--markdown").ok().out
    assert text.startswith("# Since") and "## Landed" in text and str(made["run"]) in text
    assert str(made["run"]) not in fleet.run("brief").ok().out, "once"
    assert "By day" in fleet.run("brief", "--since", "7d").ok().out
    said = fleet.run("audit", "verify")
    assert said.code == ExitCode.DONE and said.out.startswith("PASS"), said
    fleet.run("budget", "set", "50").ok()
    (newest, *_) = fleet.ask("audit", "--domain", "budget", "--level", "info")["audit"]
    assert newest["what"] == "ceiling set" and newest["detail"]["by"]
    fleet.run("budget", "set", "none").ok()


def test_records_count_what_was_done_and_not_what_was_stopped(fleet: Owner) -> None:
    top = fleet.repository("proven")
    paid(fleet, top, "node1", "write made.txt new", "usage 1 1 0.01")
    paid(fleet, top, "node2", "exit 3")
    every = fleet.ask("workers", "--by", "kind", "-n", "1000")["records"]
    (mine,) = (row for row in every if row["repository"] == str(top))
    assert (mine["agent"], mine["runtime"], mine["runs"], mine["good"]) == ("builder", "scripted", 2, 1)
    assert mine["low"] < mine["rate"] < mine["high"]
    assert "builder" in fleet.run("workers", "--by", "agent").ok().out
