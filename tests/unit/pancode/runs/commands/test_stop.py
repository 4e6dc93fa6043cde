"""`pancode stop` takes any id: a run, a workflow, an issue, or what a session has begun."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.main import run
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ExitCode
from pancode.runs.commands import stop
from tests.fakes.api import FakeApi

STOPPED: Any = {
    "run": "r-1",
    "status": "stopping",
    "state": "interrupting",
    "outcome": None,
    "reason": "asked",
    "notes": [],
}
WORKFLOW: Any = {
    **{"workflow": "w-1", "kind": "batch", "name": "b", "state": "running", "usd": "0", "unknown_costs": 0},
    "steps": [{"state": "running"}] * 5,
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    begun = {"runs": [{"run": "r-2", "state": "running"}, {"run": "r-3", "state": "ended"}]}
    answers = {
        **{"POST /v1/runs/*/stop": STOPPED, "GET /v1/work/SHOP-12": {"run": "r-7"}},
        **{"GET /v1/sessions/*/tasks": begun, "GET /v1/workflows/*": WORKFLOW},
        "POST /v1/workflows/w-1/stop": WORKFLOW,
    }
    monkeypatch.setattr("pancode.workflows.commands.group.format_headline", lambda answer: "stopped\n")
    return FakeApi(answers).serves(monkeypatch)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("stop r-1", "/v1/runs/r-1/stop"),
        ("stop", "/v1/runs/running/stop"),
        ("stop -A builder", "/v1/runs/agent%3Abuilder/stop"),
        ("stop SHOP-12", "/v1/runs/r-7/stop"),
        ("stop --session last", "/v1/runs/r-2/stop"),
        ("stop w-1", "/v1/workflows/w-1/stop"),
        ("workflow stop last", "/v1/workflows/w-1/stop"),
    ],
)
def test_one_thing_is_stopped(api: FakeApi, words: str, path: str) -> None:
    assert run([*words.split(), "--reason", "wrong branch"]) == ExitCode.DONE
    ((asked, body),) = api.posted
    assert (asked, body["reason"]) == (path, "wrong branch")


def test_a_user_is_asked_before_many_runs_are_stopped(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def refused(face: Face, question: str, otherwise: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(Face, "can_ask", lambda face: True)
    monkeypatch.setattr(Face, "confirm", refused)
    assert stop.stop(name="w-1", face=Face(as_json=False)) == ExitCode.INTERRUPTED
    assert asked == ["Stop 5 runs of w-1?"] and api.posted == []
    assert stop.stop(name="w-1", yes=True, face=Face(as_json=False)) == ExitCode.DONE


def test_two_things_are_refused(api: FakeApi) -> None:
    assert run(["stop", "r-1", "--session", "last"]) == ExitCode.USAGE and api.posted == []
