"""`mail ls` and `mail send` are `inbox` and `tell`."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.main import run
from pancode.kernel.errors import ExitCode
from tests.fakes.api import FakeApi

ASKS: dict[str, Any] = {
    "run": "r-0007",
    "kind": "question",
    "since": "2026-11-22T10:00:00.000Z",
    "choices": ["8080", "9090"],
    "call": None,
    "words": "Which port?",
    "command": "pancode answer r-0007 1",
}


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """Run r-0007 waits for a port; r-0008 asks as well, and is somebody else's matter."""
    items = [ASKS, {**ASKS, "run": "r-0008", "words": "Which name?"}]
    sent = {"run": "r-0007", "delivered": None, "sent": True, "state": "running"}
    inbox = {"GET /v1/inbox": {"items": items, "also": []}}
    return FakeApi({**inbox, "POST /v1/runs/*/tell": sent}).serves(monkeypatch)


def test_the_box_lists_what_waits(mailbox: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mail", "ls"]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "Which port?" in said and "Which name?" in said


def test_what_is_sent_is_told_to_the_run(mailbox: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mail", "send", "builder", "take 8080"]) == ExitCode.DONE
    ((path, body),) = mailbox.posted
    assert (path, body["text"]) == ("/v1/runs/builder/tell", "take 8080")
    assert "r-0007" in capsys.readouterr().out
