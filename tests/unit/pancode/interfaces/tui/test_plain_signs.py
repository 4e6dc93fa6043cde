"""A terminal without UTF-8 gets each sign in ASCII, of the same width."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from pancode.interfaces.tui.app import Console
from pancode.interfaces.tui.application import needs_ascii
from tests.unit.pancode.interfaces.tui.scene import Scene, played, shows


@pytest.mark.parametrize(
    ("environ", "needs"),
    [
        ({"TERM": "linux", "LANG": "en_US.UTF-8"}, True),
        ({"TERM": "xterm", "LANG": "de_DE.utf8"}, False),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "", "LC_CTYPE": "C.UTF-8", "LANG": "C"}, False),
        ({"LANG": "de_DE@euro"}, True),
        ({}, False),
    ],
)
def test_the_terminal_and_the_locale_decide(environ: dict[str, str], needs: bool) -> None:
    assert needs_ascii(environ) is needs


@pytest.mark.parametrize("page", ["status", "runs", "nodes"])
def test_a_page_is_the_same_in_ascii(still: Scene, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drawn(app: Console, pilot: Pilot[int], term: str) -> str:
        monkeypatch.setenv("TERM", term)
        for columns in (121, 120):  # all of it is drawn again
            await pilot.resize_terminal(columns, 40)
            await pilot.pause()
        return await shows(app, pilot, "quit")

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "tidy the imports" if page == "runs" else "n1")
        signs, plain = [await drawn(app, pilot, term) for term in ("xterm", "linux")]
        assert not signs.isascii() and plain.isascii(), [char for char in plain if not char.isascii()]
        assert [len(line) for line in plain.split("\n")] == [len(line) for line in signs.split("\n")]

    played(still, play, page, (120, 40))
