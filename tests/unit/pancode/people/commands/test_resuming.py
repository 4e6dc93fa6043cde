"""`tell --resume`: words that an agent was not given begin a run only where nobody is surprised by it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ExitCode, RefusedError
from pancode.people.commands import inbox
from pancode.people.commands.inbox import tell

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


class Coordinator:
    """Says how the run has ended, and what becomes of the words."""

    def __init__(self, delivered: str | None = None, **ended: Any) -> None:
        self.delivered, self.ended = delivered, {**ENDED, **ended}
        self.posted: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/v1/runs/r-1"
        return self.ended

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.posted.append((path, body))
        return {"run": "r-1", "state": "running", "delivered": self.delivered, "sent": False}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were asked for."""
    asked: list[str] = []

    def follow(face: Face, path: str, body: dict[str, Any], detach: bool) -> int:
        assert body["text"] == "" and not detach, "the coordinator has the words"
        asked.append(path)
        return ExitCode.VERIFY_FAILED

    monkeypatch.setattr(inbox, "wait", lambda *_: ENDED)
    monkeypatch.setattr(inbox, "follow_new", follow)
    return asked


def told(monkeypatch: pytest.MonkeyPatch, coordinator: Coordinator, **more: Any) -> int:
    monkeypatch.setattr(Face, "client", lambda self: cast("Any", coordinator))
    return tell("r-1", "add a test", face=Face(as_json=False), **more)


def test_words_that_were_not_given_continue_the_run(
    monkeypatch: pytest.MonkeyPatch, begun: list[str]
) -> None:
    assert told(monkeypatch, Coordinator(), resume=True) == ExitCode.VERIFY_FAILED
    assert begun == ["/v1/runs/r-1/continue"], "the status is that of the new run"


@pytest.mark.parametrize(
    ("coordinator", "more"),
    [
        (Coordinator(), {}),
        (Coordinator(delivered="with its task"), {"resume": True}),
        (Coordinator(told=[{"text": "x", "delivered": "at a turn of attempt 1"}]), {"resume": True}),
        (Coordinator(told=[{"by": "the tracker", "text": "x", "delivered": ""}]), {"resume": True}),
    ],
)
def test_nothing_begins_unasked_or_where_the_agent_has_them(
    monkeypatch: pytest.MonkeyPatch, begun: list[str], coordinator: Coordinator, more: dict[str, Any]
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
        told(monkeypatch, Coordinator(**ended), resume=True)
    assert caught.value.code == "not_resumed" and fix in caught.value.fix
    assert "kept" in caught.value.why and begun == []


def test_who_detaches_is_told_that_nothing_continues(
    monkeypatch: pytest.MonkeyPatch, begun: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inbox, "wait", lambda *_: None)
    assert told(monkeypatch, Coordinator(), resume=True) == ExitCode.DETACHED
    assert begun == [] and "pancode runs continue r-1" in capsys.readouterr().err
