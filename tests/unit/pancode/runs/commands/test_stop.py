"""`pancode stop` takes any id: a run, an issue, or what a session has begun."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.main import run
from pancode.kernel.errors import ExitCode
from tests.fakes.api import FakeApi

STOPPED: Any = {
    "run": "r-1",
    "status": "stopping",
    "state": "interrupting",
    "outcome": None,
    "reason": "asked",
    "notes": [],
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    begun = {"runs": [{"run": "r-2", "state": "running"}, {"run": "r-3", "state": "ended"}]}
    answers = {
        **{"POST /v1/runs/*/stop": STOPPED, "GET /v1/work/SHOP-12": {"run": "r-7"}},
        "GET /v1/sessions/*/tasks": begun,
    }
    return FakeApi(answers).serves(monkeypatch)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("stop r-1", "/v1/runs/r-1/stop"),
        ("stop", "/v1/runs/running/stop"),
        ("stop -A builder", "/v1/runs/agent%3Abuilder/stop"),
        ("stop SHOP-12", "/v1/runs/r-7/stop"),
        ("stop --session last", "/v1/runs/r-2/stop"),
    ],
)
def test_one_thing_is_stopped(api: FakeApi, words: str, path: str) -> None:
    assert run([*words.split(), "--reason", "wrong branch"]) == ExitCode.DONE
    ((asked, body),) = api.posted
    assert (asked, body["reason"]) == (path, "wrong branch")


def test_two_things_are_refused(api: FakeApi) -> None:
    assert run(["stop", "r-1", "--session", "last"]) == ExitCode.USAGE and api.posted == []
