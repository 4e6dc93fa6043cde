"""Shows when `pancode web` opens a browser, and when it leaves the link to the user."""

from __future__ import annotations

import json
import os
import webbrowser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from pancode.interfaces.cli.output import Face
from pancode.interfaces.web import commands as doorpage
from pancode.interfaces.web import commands as web
from pancode.interfaces.web.commands import FOLDER, remove_later, write_page
from pancode.kernel.errors import NotFoundError, UsageError

LINK = "http://127.0.0.1:7433/#code=abc"


@pytest.fixture(autouse=True)
def stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process waits a minute behind a test."""
    monkeypatch.setattr(doorpage, "remove_later", lambda page: None)


class Opener:
    """A browser that notes what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opened: list[str] = []

    def open(self, url: str) -> bool:
        self.opened.append(url)
        return True


@pytest.mark.parametrize(
    ("name", "takes"), [("xdg-open", True), ("firefox", True), ("w3m", False), ("www-browser", False)]
)
def test_a_browser_without_a_window_is_not_given_the_link(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    takes: bool,
) -> None:
    opener = Opener(name)
    monkeypatch.setattr(webbrowser, "get", lambda: opener)
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / "my home"))
    assert web._opened(Face(False), LINK) is takes
    assert len(opener.opened) == takes and "abc" not in "".join(opener.opened), "no code on a command line"
    for given in opener.opened:
        page = Path(unquote(urlsplit(given).path))
        assert page.parent == tmp_path / "my home" / FOLDER and page.stat().st_mode & 0o777 == 0o600
        assert page.parent.stat().st_mode & 0o777 == 0o700 and f"0; url={LINK}" in page.read_text()
    assert ("open the link" in capsys.readouterr().err) is not takes


def test_a_machine_without_a_browser_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> object:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    assert not web._opened(Face(False), LINK)
    assert "no browser was found here" in capsys.readouterr().err


BROWSER = {
    "name": "web-k3x9ab",
    "created_by": "ana",
    "used_at": None,
    "address": "",
    "agent": "",
    "confirmed_at": "2026-01-01T00:00:00Z",
    "expires_at": "9000-01-01T00:00:00Z",
}
OVER = {**BROWSER, "name": "web-over", "expires_at": "2026-01-31T00:00:00Z"}
MADE = {**BROWSER, "name": "made", "created_by": "token web-k3x9ab", "confirmed_at": None}
AGAIN = {**MADE, "name": "again", "created_by": "token made"}
ROBOT = {**BROWSER, "name": "robot", "confirmed_at": None, "expires_at": None}


@dataclass(frozen=True, slots=True)
class ToldFace(Face):
    """A coordinator with two browsers, one of which has expired, and a token of a program."""

    asked: list[str] = field(default_factory=list)

    def get(self, route: Any, **query: object) -> Any:
        return {"tokens": [AGAIN, BROWSER, MADE, OVER, ROBOT]}

    def post(self, route: Any, body: Any = None, *, works: bool = False) -> Any:
        self.asked.append(str(route))
        return {"ended": ["made"], "paused": [], "left": []}


def test_only_browsers_are_listed_until_they_expire_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    face = ToldFace(True)
    web.web(devices=True, face=face)
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["devices"]] == [
        "web-k3x9ab",
        "made",
        "again",
    ]
    with pytest.raises(NotFoundError):
        web.web(revoked="robot", face=face)
    assert face.asked == []
    web.web(devices=True, face=ToldFace(False))
    assert "a token of web-k3x9ab" in capsys.readouterr().out
    web.web(revoked="web-k3x9ab", face=face)
    assert len(face.asked) == 1 and "web-k3x9ab" in face.asked[0]


@pytest.mark.parametrize("without", ["only_print", "devices", "revoked"])
def test_what_a_command_does_is_one_thing(without: str) -> None:
    given: Any = {"only_print": True, "devices": True, "revoked": "web-k3x9ab"}
    del given[without]
    face = ToldFace(True)
    with pytest.raises(UsageError):
        web.web(**given, face=face)
    assert face.asked == []


def test_pages_of_before_go_and_one_that_may_be_opened_still_stays(tmp_path: Path) -> None:
    old, new = write_page(tmp_path, LINK), write_page(tmp_path, LINK)
    at = new.stat().st_mtime - 70
    os.utime(old, (at, at))
    last = write_page(tmp_path, LINK)
    assert set((tmp_path / FOLDER).iterdir()) == {new, last}


def test_a_page_goes_by_itself(tmp_path: Path) -> None:
    page = write_page(tmp_path, LINK)
    assert remove_later(page, 0).wait(60) == 0 and not page.exists()
