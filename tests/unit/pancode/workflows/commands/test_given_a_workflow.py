"""Commands of runs that are given a workflow: one stops all its runs, a receipt is of a run only."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.main import run
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ExitCode
from pancode.runs.commands import stop
from tests.fakes.api import FakeApi

WORKFLOW: Any = {
    **{"workflow": "w-1", "kind": "batch", "name": "b", "state": "running", "usd": "0", "unknown_costs": 0},
    "steps": [{"state": "running"}] * 5,
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    monkeypatch.setattr("pancode.workflows.commands.group.format_headline", lambda answer: "stopped\n")
    answers = {"GET /v1/workflows/*": WORKFLOW, "POST /v1/workflows/w-1/stop": WORKFLOW}
    return FakeApi(answers).serves(monkeypatch)


@pytest.mark.parametrize("words", ["stop w-1", "workflow stop last"])
def test_it_is_stopped(api: FakeApi, words: str) -> None:
    assert run([*words.split(), "--reason", "wrong branch"]) == ExitCode.DONE
    ((asked, body),) = api.posted
    assert (asked, body["reason"]) == ("/v1/workflows/w-1/stop", "wrong branch")


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


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_a_workflow_has_no_receipt_and_its_runs_are_named(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["receipt", verb, "w-7f3k2x"]) == ExitCode.USAGE
    assert "pancode workflow show w-7f3k2x" in capsys.readouterr().err
