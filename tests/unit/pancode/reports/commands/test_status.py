"""`pancode status` is one screen: 24 lines at 80 columns, whatever the fleet holds; each section stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from pancode.interfaces.cli.main import run
from pancode.interfaces.cli.needs import format_row
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ExitCode
from pancode.reports.commands.status import MOST_LINES, Seen, format_screen
from pancode.reports.now import arrange_now
from pancode.runs.answers import NeedGroup
from tests.fakes.api import FakeApi
from tests.unit.pancode.reports.test_now import LATER, need, node, snapshot

SECTIONS = ("fleet ", "NEEDS YOU", "RUNNING", "WAITING", "NODES", "ENDED since", "MONEY")


def seen(count: int, *more: Any) -> Seen:
    """A fleet with so many of everything, and these nodes."""
    now = snapshot(count, *more)
    info = {"fleet": "export", "paused": "a move", "draining": None, "trouble": None, "clock": None}
    fleet: Any = {"coordinator": info, "nodes": [*(node(f"n{n}") for n in range(count)), *more]}
    return Seen(fleet, arrange_now(now))


@pytest.mark.parametrize("count", [1, 3, 60])
def test_the_screen_fits_and_keeps_each_section(count: int) -> None:
    lines = format_screen(seen(count), 80).splitlines()
    assert len(lines) <= MOST_LINES and max(map(len, lines)) <= 80, lines
    assert all(any(line.startswith(section) for line in lines) for section in SECTIONS), lines


def test_a_row_says_who_works_since_when_and_what_it_costs() -> None:
    told = format_screen(seen(2), 80)
    assert "  r-0  n1          builder    4 min    $0.12  mend it" in told
    assert "NEEDS YOU 4: 2 asking, 2 to land" in told
    assert "RUNNING 2 (slots: 2 of 8; 1 chat waiting for your message)" in told
    assert "ENDED since 11-28 09:00:00Z: 3 (2 done, 1 gate failed); 1 landed" in told
    assert "MONEY today $2.92 of $10.00, $0.75 reserved; 1 run of unknown cost" in told


def test_a_need_keeps_its_money_and_its_age_at_80_columns() -> None:
    long = {"title": "rebuild the whole index " * 4, "headline": "AssertionError: Lists differ " * 4}
    failed = need("r-1", NeedGroup.FAILED, "gate_failed", **long)
    for columns in (60, 80, 120):
        told = format_row(failed, LATER, columns)
        assert told.endswith("  $0.12   4 min") and len(told) == columns
        assert "gate failed" in told and "Assert" in told


def test_a_node_in_trouble_is_a_need() -> None:
    lines = format_screen(seen(9, node("attic", state="lost")), 80).splitlines()
    assert any("lost" in line and "attic" in line and "is lost" in line for line in lines)
    assert "NODES 10" in lines and any("14 more" in line and "pancode inbox" in line for line in lines)


def test_a_name_is_shown_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi({"GET /v1/nodes/*": {"name": "desk"}, "GET /v1/runs/*": {"run": "r-1"}}).serves(monkeypatch)
    for name in ("desk", "r-1"):
        assert run(["status", name, "--json"]) == ExitCode.DONE
    assert [path for path, _ in api.asked] == ["/v1/nodes/desk", "/v1/runs/r-1"]


def test_yaml_has_what_json_has(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = seen(1)
    answers = {
        "GET /v1/fleet": now.fleet,
        "GET /v1/now": to_json(now.now),
        "GET /v1/queues": {},
        "GET /v1/budget": {},
    }
    FakeApi({**answers, "GET /v1/inbox": {}, "GET /v1/brief": {}}).serves(monkeypatch)
    assert run(["status", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert run(["status", "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == whole and "runs" in whole
