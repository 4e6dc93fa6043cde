"""Shows when `pancode web` opens a browser, and when it leaves the link to the person."""

from __future__ import annotations

import webbrowser

import pytest

from pancode.cli import web
from pancode.cli.face import Face

LINK = "http://127.0.0.1:7433/#code=abc"


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
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, takes: bool
) -> None:
    opener = Opener(name)
    monkeypatch.setattr(webbrowser, "get", lambda: opener)
    assert web._opened(Face(False), LINK) is takes
    assert opener.opened == ([LINK] if takes else [])
    assert ("open the link" in capsys.readouterr().err) is not takes


def test_a_machine_without_a_browser_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> object:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    assert not web._opened(Face(False), LINK)
    assert "no browser was found here" in capsys.readouterr().err
