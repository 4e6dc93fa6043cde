"""`tell --resume`: words that an agent was not given begin a run only where nobody is surprised by it."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ExitCode, RefusedError
from pancode.kernel.route import path_in
from pancode.people.commands import inbox
from pancode.people.commands.inbox import tell
from tests.fakes.api import FakeApi

ENDED: dict[str, Any] = {
    "run": "r-1",
    "outcome": "done",
    "workflow": None,
    "continued_by": [],
    "told": [
        {"by": "ana", "text": "earlier", "delivered": "with its task"},
        {"by": "the tracker", "text": "its issue has changed", "delivered": ""},
        {"by": "ana", "text": "add a test", "delivered": ""},
    ],
}


def after(delivered: str | None = None, **ended: Any) -> FakeApi:
    """Says how the run has ended, and what becomes of the words."""
    told = {"run": "r-1", "state": "running", "delivered": delivered, "sent": False}
    return FakeApi({"GET /v1/runs/r-1": {**ENDED, **ended}, "POST /v1/runs/r-1/tell": told})


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were asked for."""
    asked: list[str] = []

    def follow(face: Face, path: str, body: dict[str, Any], detach: bool) -> int:
        assert body["text"] == "" and not detach, "the coordinator has the words"
        asked.append(path_in(path))
        return ExitCode.VERIFY_FAILED

    monkeypatch.setattr(inbox, "wait_for_run", lambda *_: ENDED)
    monkeypatch.setattr(inbox, "follow_new", follow)
    return asked


def told(monkeypatch: pytest.MonkeyPatch, coordinator: FakeApi, **more: Any) -> int:
    coordinator.serves(monkeypatch)
    return tell("r-1", "add a test", face=Face(as_json=False), **more)


def test_words_that_were_not_given_continue_the_run(
    monkeypatch: pytest.MonkeyPatch, begun: list[str]
) -> None:
    assert told(monkeypatch, after(), resume=True) == ExitCode.VERIFY_FAILED
    assert begun == ["/v1/runs/r-1/continue"], "the status is that of the new run"


@pytest.mark.parametrize(
    ("coordinator", "more"),
    [
        (after(), {}),
        (after(delivered="with its task"), {"resume": True}),
        (after(told=[{"text": "x", "delivered": "at a turn of attempt 1"}]), {"resume": True}),
        (after(told=[{"by": "the tracker", "text": "x", "delivered": ""}]), {"resume": True}),
    ],
)
def test_nothing_begins_unasked_or_where_the_agent_has_them(
    monkeypatch: pytest.MonkeyPatch, begun: list[str], coordinator: FakeApi, more: dict[str, Any]
) -> None:
    assert told(monkeypatch, coordinator, **more) == ExitCode.DONE
    assert begun == [] and len(coordinator.posted) == 1


@pytest.mark.parametrize(
    ("ended", "fix"),
    [
        ({"outcome": "blocked"}, "pancode answer r-1"),
        ({"outcome": "interrupted"}, "pancode runs continue r-1"),
        ({"workflow": "w-1"}, "pancode runs continue r-1"),
        ({"continued_by": ["r-2", "r-3"]}, "pancode tell r-3"),
    ],
)
def test_where_it_would_surprise_it_is_refused_with_the_command_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, begun: list[str], ended: dict[str, Any], fix: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        told(monkeypatch, after(**ended), resume=True)
    assert caught.value.code == "not_resumed" and fix in caught.value.fix
    assert "which is stored" in caught.value.why and begun == []


def test_who_detaches_is_told_that_nothing_continues(
    monkeypatch: pytest.MonkeyPatch, begun: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inbox, "wait_for_run", lambda *_: None)
    assert told(monkeypatch, after(), resume=True) == ExitCode.DETACHED
    assert begun == [] and "pancode runs continue r-1" in capsys.readouterr().err
