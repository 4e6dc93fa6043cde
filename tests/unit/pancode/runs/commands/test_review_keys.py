"""The keys of `pancode review`: one drops, and the key that is the diff elsewhere is the diff here."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.landing.commands import review


class AskedClient:
    """A coordinator that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def raw(self, path: str) -> bytes:
        self.asked.append(path)
        return b"diff --git a/x b/x\n+four\n"

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(path)
        return body


@pytest.mark.parametrize(("keys", "asked"), [("dx", ["diff", "drop"]), ("ds", ["diff"]), ("X", ["drop"])])
def test_d_shows_the_change_and_x_drops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: str, asked: list[str]
) -> None:
    client, pressed = AskedClient(), iter(keys)
    monkeypatch.setattr(review, "_key", lambda question: next(pressed))
    ended = review._asked(Face(False), client, "r-1")  # type: ignore[arg-type]
    assert [path.rsplit("/", 1)[1] for path in client.asked] == asked
    assert ended == ("dropped" if asked[-1] == "drop" else "skipped")
    assert ("+four" in capsys.readouterr().out) is ("diff" in asked)
