"""What a waiting user sees of set-up: its last line, until something else of the run writes."""

from __future__ import annotations

import threading

import pytest

from pancode.interfaces.cli import progress
from pancode.interfaces.cli.progress import SetUpLine, SetUpTimer
from tests.crowd import crowded
from tests.fakes.api import FakeApi


def setting_up(streams: dict[str, list[str]], text: bytearray) -> SetUpLine:
    answers = {"GET /v1/runs/r-1/streams": {"streams": streams}, "GET /v1/runs/r-1/log": text}
    return SetUpLine(FakeApi(answers), "r-1")


def test_its_last_line_until_the_agent_writes() -> None:
    streams, text = dict[str, list[str]](), bytearray()
    line = setting_up(streams, text)
    assert line.look() == ""
    streams["1.1"] = ["setup"]
    text += b"Collecting a\nCollecting \x1b[31mb\n\n"
    assert line.look() == "Collecting \\x1b[31mb"
    assert line.look() == "Collecting \\x1b[31mb", "nothing new"
    text += b"Installing\n"
    assert line.look() == "Installing"
    streams["2.2"], text[:] = ["setup"], b"again\n"
    assert line.look() == "again"
    streams["2.2"].append("out")
    assert line.look() == ""


def test_the_clock_runs_beside_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.01)
    said, heard = list[str](), threading.Event()

    def show(text: str) -> None:
        said.append(text)
        heard.set()

    with SetUpTimer(setting_up({"1.1": ["setup"]}, bytearray(b"pip\n")), show):
        assert heard.wait(10 * crowded())
    assert said[0] == "  0 s  set-up: pip"
    count = len(said)
    assert not [one for one in threading.enumerate() if one.name == "clock"] and len(said) == count
