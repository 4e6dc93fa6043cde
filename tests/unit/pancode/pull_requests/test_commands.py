"""`pancode inbox pulls`: what it shows, and what it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.pull_requests.commands import pulls
from tests.unit.pancode.landing.commands.test_landing import DirectClient
from tests.unit.pancode.pull_requests.test_watch import URL, Shop

FACE = Face(False)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    client = DirectClient(made.world.coordinator)
    monkeypatch.setattr(Face, "client", lambda *_, **__: client)
    return made


def test_the_list_and_one_in_full(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert pulls(face=FACE) == 0
    assert "no pull request is watched; open one: pancode land RUN" in capsys.readouterr().out
    shop.opens()
    shop.forge.tell("ana", "Add a test.\n  trouble  none\x1b[2J", "changes requested")
    shop.look()
    pulls(face=FACE)
    assert URL in capsys.readouterr().out
    for name in ("7", "#7", URL, shop.run, shop.pull.id):
        pulls(pull=name, face=FACE)
        out = capsys.readouterr().out
        assert out.startswith(f"{shop.pull.id}  open  {URL}\n") and "  follow   no\n" in out
        assert "  ana requests changes\n      Add a test.\n" in out
        assert "\x1b" not in out and "\n  trouble" not in out, "a text cannot imitate another line"


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ({"follow": True}, "follow   yes, 0 messages"),
        ({"follow": False}, "follow   no"),
        ({"forget": True}, "not watched"),
    ],
)
def test_a_word(shop: Shop, capsys: pytest.CaptureFixture[str], word: Any, shown: str) -> None:
    shop.opens()
    assert pulls(pull="7", face=FACE, **word) == 0
    assert shown in capsys.readouterr().out


def test_bad_input(shop: Shop) -> None:
    with pytest.raises(UsageError):
        pulls(follow=True, face=FACE)
    with pytest.raises(NotFoundError, check=lambda error: "pancode inbox pulls" in error.fix):
        pulls(pull="8", follow=True, face=FACE)
