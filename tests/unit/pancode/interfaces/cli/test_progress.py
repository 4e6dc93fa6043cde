"""What a waiting person sees of set-up: its last line, until something else of the run writes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pancode.interfaces.cli import progress
from pancode.interfaces.cli.progress import SetUpLine, SetUpTimer
from pancode.interfaces.client.client import Client
from tests.crowd import crowded


@dataclass
class Piece:
    data: bytes


@dataclass
class ToolResults:
    """Answers as the coordinator does."""

    streams: dict[str, list[str]] = field(default_factory=dict)
    text: bytes = b""

    def get(self, path: str) -> dict[str, Any]:
        return {"streams": self.streams}

    def log(self, run: str, stream: str, attempt: str, offset: int) -> Piece:
        assert (run, stream) == ("r-1", "setup")
        return Piece(self.text[offset:])


def test_its_last_line_until_the_agent_writes() -> None:
    told = ToolResults()
    line = SetUpLine(cast(Client, told), "r-1")
    assert line.look() == ""
    told.streams, told.text = {"1.1": ["setup"]}, b"Collecting a\nCollecting \x1b[31mb\n\n"
    assert line.look() == "Collecting \\x1b[31mb"
    assert line.look() == "Collecting \\x1b[31mb", "nothing new"
    told.text += b"Installing\n"
    assert line.look() == "Installing"
    told.streams, told.text = {"1.1": ["setup"], "2.2": ["setup"]}, b"again\n"
    assert line.look() == "again"
    told.streams["2.2"].append("out")
    assert line.look() == ""


def test_the_clock_runs_beside_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.01)
    said, heard = list[str](), threading.Event()

    def show(text: str) -> None:
        said.append(text)
        heard.set()

    told = ToolResults({"1.1": ["setup"]}, b"pip\n")
    with SetUpTimer(SetUpLine(cast(Client, told), "r-1"), show):
        assert heard.wait(10 * crowded())
    assert said[0] == "  0 s  set-up: pip"
    count = len(said)
    assert not [one for one in threading.enumerate() if one.name == "clock"] and len(said) == count
