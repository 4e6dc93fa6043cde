"""One dispatch leaves a line in both logs at each stage, with the same identity."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.e2e.owner import Owner, until
from tests.lab import Lab

pytestmark = pytest.mark.slow
STAGES = ["accepted", "started", "ended", "delivered", "settled"]
FIELDS = ("run", "attempt", "fence", "node")


def about(lines: Iterable[str], run: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines if f'"{run}"' in line and '"stage"' in line]
    return [entry for entry in found if entry["logger"] == "pancode.orders"]


def test_a_dispatch_leaves_a_line_of_each_stage_in_both_logs(fleet: Owner, lab: Lab) -> None:
    run = fleet.ask("dispatch", "--runtime", "shell", "--workspace", "none", "--node", "node1", "sleep 0.2")
    assert run["outcome"] == "done"
    name = run["run"]

    def here() -> list[dict[str, Any]]:
        return about((fleet.fleet_home / "run/coordinator.log").read_text().splitlines(), name)

    def there() -> list[dict[str, Any]]:
        return about(lab.run(1, "cat /home/ops/.pancode-node/f-*/log/agent.out").stdout.splitlines(), name)

    for log in (here, there):
        until(lambda log=log: [e["stage"] for e in log()] == STAGES, "all stages are there", told=log)  # type: ignore[misc]
        entries = log()
        assert len({tuple(e[field] for field in FIELDS) for e in entries}) == 1
        took = [e["duration_ms"] for e in entries]
        assert took == sorted(took) and took[-1] >= 200
        assert all(e["time"].endswith("Z") and e["level"] == "info" for e in entries)
    assert [{f: e[f] for f in FIELDS} for e in here()] == [{f: e[f] for f in FIELDS} for e in there()]
    assert (here()[0]["node"], here()[0]["attempt"]) == ("node1", 1)


def test_the_change_so_far_is_read_from_the_checkout_of_a_run_at_work(fleet: Owner, lab: Lab) -> None:
    """`pancode diff` of a run in progress: what is there now, not what the agent says."""
    top = fleet.repository("so-far")
    on = ("--runtime", "shell", "--safety", "full-auto", "--node", "node1")
    run = fleet.dispatch(*on, "echo first >> README.md; sleep 4; echo second > new.txt; sleep 120", cwd=top)
    until(lambda: "+first" in fleet.run("diff", run, cwd=top).out, "its first line is seen")
    until(lambda: "+second" in fleet.run("diff", run, cwd=top).out, "a later file is seen, too")
    shown = fleet.run("diff", run, cwd=top).ok()
    assert "so far" in shown.err and "the run continues" in shown.err
    assert "+1 -0  README.md" in fleet.run("diff", run, "--stat", cwd=top).out
    fleet.run("runs", "stop", run).ok()
    fleet.ended(run)
    assert "so far" not in fleet.run("diff", run, cwd=top).ok().err
