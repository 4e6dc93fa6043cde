"""`pancode status` is one screen: 24 lines at 80 columns, whatever the fleet holds; each section stays."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.main import run
from pancode.kernel.errors import ExitCode
from pancode.reports.commands.status import MOST_LINES, Seen, format_screen
from tests.fakes.api import FakeApi

AT = "2026-11-28T09:00:00.000Z"
SECTIONS = ("fleet ", "NEEDS YOU", "RUNNING", "WAITING", "NODES", "ENDED since", "MONEY")


def node(name: str, **more: Any) -> Any:
    facts = {"name": name, "state": "online", "since": AT, "slots": {"used": 1, "total": 4}, "problems": []}
    programs = [{"name": "claude", "state": "ok", "served": False}]
    return {**facts, "runtimes": programs, "endpoints": [], "gpus": [], **more}


def seen(count: int) -> Seen:
    """A fleet with so many of everything."""
    numbers = range(count)
    item = {
        "kind": "question",
        "since": AT,
        "words": "keep the column?\nor rename it",
        "command": "pancode x",
    }
    run: dict[str, Any] = {
        "node": "n1",
        "agent": "builder",
        "runtime": "claude",
        "model": None,
        "started_at": AT,
    }
    run |= {"task": "mend it " * 30, "usage": {"cost_usd": "0.12"}, "outcome": None, "waits": None}
    also = [
        {"run": f"r-l{n}", "what": "done", "task": "", "command": f"pancode land r-l{n}"} for n in numbers
    ]
    info = {"fleet": "export", "paused": "a move", "draining": None, "trouble": None, "clock": None}
    day = {"scope": "day:2026-11-28", "spent_usd": "2.92", "ceiling_usd": "10", "held_usd": "0.75"}
    values: dict[str, Any] = {
        "fleet": {"coordinator": info, "nodes": [node(f"n{n}") for n in numbers]},
        "inbox": {"items": [{**item, "run": f"r-q{n}"} for n in numbers], "also": also},
        "runs": [{**run, "run": f"r-{n}"} for n in numbers],
        "queues": {"queues": [{"orders": [{"run": f"r-w{n}", "reason": "for a slot"} for n in numbers]}]},
        "brief": {"since": AT, "outcomes": {"done": 2, "verify_failed": 1}, "landed": [{}]},
        "budget": {"scopes": [{**day, "unknown_runs": 1}]},
    }
    return Seen(**values, now_ms=1_795_856_400_000 + 4 * 60_000)


@pytest.mark.parametrize("count", [1, 3, 60])
def test_the_screen_fits_and_keeps_each_section(count: int) -> None:
    lines = format_screen(seen(count), 80).splitlines()
    assert len(lines) <= MOST_LINES and max(map(len, lines)) <= 80, lines
    assert all(any(line.startswith(section) for line in lines) for section in SECTIONS), lines


def test_a_row_says_who_works_since_when_and_what_it_costs() -> None:
    told = format_screen(seen(2), 80)
    assert "  r-0  n1          builder    4 min    $0.12  mend it" in told
    assert "2 with a change to review" in told and "pancode inbox review" in told
    assert "ENDED since 11-28 09:00:00Z: 3 (2 done, 1 gate failed, 1 landed)" in told
    assert "MONEY today $2.92 of $10.00, $0.75 reserved; 1 run of unknown cost" in told


def test_a_wide_screen_has_the_command_in_the_row() -> None:
    told = format_screen(seen(1), 120)
    assert any("r-q0" in line and "pancode x" in line for line in told.splitlines())


def test_a_node_in_trouble_comes_first_with_its_command() -> None:
    there = seen(9)
    there.fleet["nodes"][-1] = node("attic", state="lost")
    lines = format_screen(there, 80).splitlines()
    at = lines.index("NODES 9")
    assert lines[at + 1].startswith("  attic") and lines[at + 1].endswith("pancode doctor attic")


def test_a_name_is_shown_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi({"GET /v1/nodes/*": {"name": "desk"}, "GET /v1/runs/*": {"run": "r-1"}}).serves(monkeypatch)
    for name in ("desk", "r-1"):
        assert run(["status", name, "--json"]) == ExitCode.DONE
    assert [path for path, _ in api.asked] == ["/v1/nodes/desk", "/v1/runs/r-1"]
