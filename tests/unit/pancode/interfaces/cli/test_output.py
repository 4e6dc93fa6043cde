"""Variables of `fleet up` that a coordinator which runs already cannot have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pancode.config.answers import RULES
from pancode.config.folder_settings import settings_here
from pancode.interfaces.cli import output
from pancode.interfaces.cli.output import Face, find_ignored_variables
from pancode.interfaces.client.connection import NotRunningError
from pancode.kernel.errors import ApiError, ConfigError
from tests.fakes.api import FakeApi


def running(home: Path, **environ: str) -> FakeApi:
    """A coordinator that was started with these variables."""
    rows, _ = settings_here(home, home, {"PANCODE_HOME": str(home), **environ})
    return FakeApi({"GET /v1/config": {"settings": rows}})


def told(api: FakeApi, home: Path, **environ: str) -> list[str]:
    return find_ignored_variables(api, str(home), {"PANCODE_HOME": str(home), **environ})


def test_what_it_was_started_without_is_said_with_the_way_out(tmp_path: Path) -> None:
    (said,) = told(running(tmp_path), tmp_path, PANCODE_LOCAL_MACHINES="10.0.0.5:1234,gpu=10.0.0.6")
    assert said.startswith("PANCODE_LOCAL_MACHINES is ignored") and "pancode fleet down" in said


def test_what_it_was_started_with_is_fine(tmp_path: Path) -> None:
    same = {"PANCODE_LOCAL_MACHINES": "10.0.0.5:1234", "PANCODE_NODE_CONCURRENCY": "2"}
    assert told(running(tmp_path, **same), tmp_path, **same) == []
    assert len(told(running(tmp_path, **same), tmp_path, **{**same, "PANCODE_NODE_CONCURRENCY": "3"})) == 1


def test_the_schema_is_not_loaded_where_the_coordinator_has_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = {"PANCODE_NODE_CONCURRENCY": "2", "PANCODE_BUDGET_CEILING": "25", "PANCODE_STRICT_TIERS": "yes"}
    api = running(tmp_path, **same)
    monkeypatch.setitem(sys.modules, "pancode.config.folder_settings", None)  # an import of it fails
    assert told(api, tmp_path, **same) == [] and len(api.asked) == 1


def test_nobody_is_asked_where_none_is_set_or_each_dispatch_takes_it(tmp_path: Path) -> None:
    api = running(tmp_path)
    assert told(api, tmp_path, PANCODE_WORKER_MODEL="x", PANCODE_LOCAL_MACHINES=" ") == []
    assert api.asked == []


def test_one_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PANCODE_LOCAL_MACHINES"):
        told(running(tmp_path), tmp_path, PANCODE_LOCAL_MACHINES="foo=:x")


def answers_pings(monkeypatch: pytest.MonkeyPatch, does: bool) -> None:
    monkeypatch.setattr(output, "try_get", lambda place, path, timeout_s: {} if does else None)


def test_a_coordinator_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi({"GET /v1/rules": {"rules": []}}).serves(monkeypatch)
    answers_pings(monkeypatch, False)
    assert Face(as_json=False).ask_running(RULES, cwd="/") is None and api.asked == []


@pytest.mark.parametrize(
    ("answer", "variable", "is_asked"),
    [
        ({"rules": []}, "", True),
        (NotRunningError("no coordinator"), "", True),
        (ApiError({"message": "no such route", "code": "no_such_route"}), "", True),  # an earlier version
        ({"rules": []}, "PANCODE_SAFETY", False),
        ({"rules": []}, "PANCODE_PRESET", False),
        ({"rules": []}, "PANCODE_SAFTEY", False),
        ({"rules": []}, "PANCODE_COORDINATOR", False),
    ],
)
def test_the_coordinator_here_answers_where_it_knows_what_this_shell_knows(
    answer: object, variable: str, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = FakeApi({"GET /v1/rules": answer}).serves(monkeypatch)
    answers_pings(monkeypatch, True)
    if variable:
        monkeypatch.setenv(variable, "ssh://elsewhere")
    found = Face(as_json=False).ask_running(RULES, cwd="/")
    assert found == (answer if is_asked and isinstance(answer, dict) else None)
    assert bool(api.asked) == is_asked


def test_a_refusal_of_the_coordinator_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ApiError({"message": "pansafety.yaml:3: wrong", "code": "bad_config"})
    FakeApi({"GET /v1/rules": wrong}).serves(monkeypatch)
    answers_pings(monkeypatch, True)
    with pytest.raises(ApiError, match="pansafety.yaml:3"):
        Face(as_json=False).ask_running(RULES, cwd="/")
