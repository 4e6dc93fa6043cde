"""The keys of `pancode review`: one drops, and the key that is the diff elsewhere is the diff here."""

from __future__ import annotations

import pytest

from pancode.interfaces.cli.output import Face
from pancode.landing.commands import review
from tests.fakes.api import FakeApi

DROPPED = {"run": "r-1", "files_changed": ["a.txt"], "outcome": "done"}


@pytest.mark.parametrize(("keys", "asked"), [("dx", ["diff", "drop"]), ("ds", ["diff"]), ("X", ["drop"])])
def test_d_shows_the_change_and_x_drops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: str, asked: list[str]
) -> None:
    diff = b"diff --git a/x b/x\n+four\n"
    client = FakeApi({"GET /v1/runs/r-1/diff": diff, "POST /v1/runs/r-1/land/drop": DROPPED})
    pressed = iter(keys)
    monkeypatch.setattr(review, "_read_key", lambda question: next(pressed))
    ended = review._ask_action(Face(False), client, "r-1")
    assert [path.rsplit("/", 1)[1] for path, _ in client.asked] == asked
    assert ended == ("dropped" if asked[-1] == "drop" else "skipped")
    assert ("+four" in capsys.readouterr().out) is ("diff" in asked)
