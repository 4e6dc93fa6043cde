"""`workspace repair` says first what it would do; `--dry-run` and a user's no change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.workspaces.commands.workspaces import ls, repair
from tests.fakes.api import FakeApi

BROKEN = {"what": "its machine n1 has left", "fix": "--node N", "does": "its next run begins anywhere"}
ONE: dict[str, Any] = {
    **{"workspace": "login", "branch": "feature/login", "project": "/shop", "node": "n1", "agent": None},
    **{"outcome": "lost", "count": 2, "files": [], "ahead": None, "behind": None, "runs": [], "last": "r-1"},
    **{"dirty": None, "size": 3 << 20, "used_at": None, "created_at": "2026-11-20T00:00:00.000Z"},
}


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """Has one workspace, whose machine is gone until it is repaired."""

    def shown(path: str, sent: object) -> dict[str, Any]:
        return {**ONE, "problems": [] if api.posted else [BROKEN]}

    answers = {"GET /v1/workspaces/login": shown, "POST /v1/workspaces/login/repair": shown}
    api = FakeApi({"GET /v1/workspaces": {"workspaces": [ONE]}, **answers})
    return api.serves(monkeypatch)


def test_a_preview_changes_nothing(coordinator: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    repair("login", repository="/new", dry_run=True, face=Face(as_json=False))
    said = capsys.readouterr().out
    assert "its machine n1 has left" in said and coordinator.posted == []
    assert "  then: its next run begins anywhere\n  then: its repository becomes /new\n" in said


@pytest.mark.parametrize("yes", [True, False])
def test_a_user_is_asked_and_a_script_is_not(
    coordinator: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], yes: bool
) -> None:
    monkeypatch.setattr(Face, "can_ask", lambda self: True)
    monkeypatch.setattr(Face, "confirm", lambda self, question, otherwise: yes)
    repair("login", face=Face(as_json=False))
    assert "then: its next run begins anywhere" in capsys.readouterr().err
    assert len(coordinator.posted) == int(yes)
    monkeypatch.setattr(Face, "can_ask", lambda self: False)
    repair("login", face=Face(as_json=False))
    assert len(coordinator.posted) == int(yes) + 1


def test_a_list_says_what_is_not_known(coordinator: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    ls(face=Face(as_json=False))
    head, row = capsys.readouterr().out.splitlines()
    assert "DIRTY  SIZE" in head and row[head.index("DIRTY") :].split()[0] == "?"
    assert "3 M" in row and head.split()[-5:] == ["SIZE", "AHEAD", "BEHIND", "LAST", "USED"]
