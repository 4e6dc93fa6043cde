"""The text of the brief: each run once, and the stopped runs in one line."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.main import run
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ExitCode
from pancode.runs.answers import NeedGroup
from tests.fakes.api import FakeApi
from tests.unit.pancode.reports.test_now import need


def line(name: str, what: str, outcome: str) -> dict[str, Any]:
    command = f"pancode runs show {name}"
    return {"run": name, "what": what, "task": f"mend {name}", "command": command, "outcome": outcome}


def test_each_run_is_told_once_and_those_that_were_stopped_share_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = {"title": "mend r-1", "headline": "Which port?", "command": "pancode runs show r-1", "run": "r-1"}
    cost = {"usd": "0", "runs": 0, "unknown_runs": 0, "disputed_usd": "0"}
    brief: dict[str, Any] = {
        **{"by": "ana", "since": "2026-11-29T07:00:00.000Z", "until": "2026-11-29T08:00:00.000Z"},
        **{"outcomes": {"done": 1, "blocked": 1, "interrupted": 5}, "running": 0, "queued": 0},
        **{"held": [], "landed": [], "by_agent": [], "cost": cost},
        "waits": [to_json(need("i-1", NeedGroup.ASKS, "question", **asks))],
        "notes": [],
        "ran": [
            line("r-1", "asks you", "blocked"),
            *(line(f"r-s{n}", "stopped", "interrupted") for n in range(5)),
            line("r-2", "done", "done"),
        ],
    }
    FakeApi({"GET /v1/brief": brief, "POST /v1/brief/looked": {"by": "ana"}}).serves(monkeypatch)
    assert run(["status", "--since", "last"]) == ExitCode.DONE
    told = capsys.readouterr().out
    assert "1 asks you, 1 done, 5 stopped" in told or "1 asks you, 5 stopped, 1 done" in told, told
    assert (
        told.count("r-1 mend r-1") == 1 and "      question: Which port?\n      pancode runs show r-1" in told
    )
    assert "  5 runs stopped: r-s0, r-s1, r-s2 and 2 more\n      pancode runs --state stopped" in told
    assert "mend r-s0" not in told and "  r-2 mend r-2\n      done\n" in told
