"""`mail ls` and `mail send` are `inbox` and `tell`."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pancode.interfaces.cli.main import run
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ExitCode

ASKS: dict[str, Any] = {
    "run": "r-0007",
    "kind": "question",
    "since": "2026-11-22T10:00:00.000Z",
    "choices": ["8080", "9090"],
    "call": None,
    "words": "Which port?",
    "command": "pancode answer r-0007 1",
}


class Mailbox:
    """Run r-0007 waits for a port; r-0008 asks as well, and is somebody else's matter."""

    def __init__(self) -> None:
        self.posted = list[tuple[str, Any]]()

    def get(self, path: str, **_: Any) -> dict[str, Any]:
        assert path == "/v1/inbox"
        return {"items": [ASKS, {**ASKS, "run": "r-0008", "words": "Which name?"}], "also": []}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.posted.append((path, body["text"]))
        return {"run": "r-0007", "delivered": None, "sent": True, "state": "running"}


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    there = Mailbox()
    monkeypatch.setattr(Face, "client", lambda self, **_: cast("Any", there))
    return there


def test_the_box_lists_what_waits(mailbox: Mailbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mail", "ls"]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "Which port?" in said and "Which name?" in said


def test_what_is_sent_is_told_to_the_run(mailbox: Mailbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mail", "send", "builder", "take 8080"]) == ExitCode.DONE
    assert mailbox.posted == [("/v1/runs/builder/tell", "take 8080")]
    assert "r-0007" in capsys.readouterr().out
