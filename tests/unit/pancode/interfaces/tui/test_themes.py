"""The page of runs in both themes and in the terminal's own colours, as it is written to a terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console as Terminal
from textual.pilot import Pilot

from pancode.interfaces.client.connection import NotRunningError
from pancode.interfaces.tui.app import Console
from pancode.interfaces.tui.application import SteadyApp
from pancode.interfaces.tui.themes import OWN, THEMES, read_theme
from tests.unit.pancode.interfaces.tui.scene import Scene, WorldClient, comes, played, screen, shows

GOLDEN = Path(__file__).parent / "themes"
GROUNDS = {"dark": "48;2;14;16;19", "light": "48;2;255;255;255"}


def written(app: SteadyApp) -> str:
    """With the sequences of its colours."""
    terminal = Terminal(force_terminal=True, color_system="truecolor", no_color=False)
    return "\n".join(strip.render(terminal) for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("name", ["dark", "light", OWN])
def test_a_page_has_the_colours_of_its_theme_alone(still: Scene, name: str) -> None:
    golden = GOLDEN / f"runs-{name}.ansi"

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "tidy the imports")
        assert isinstance(app.app, SteadyApp)
        app.app.wear(name)
        await comes(app, pilot, lambda: GROUNDS.get(name, "") in written(still_app(app)), "the ground")
        await shows(app, pilot, "w why")
        await pilot.pause()
        shown = written(app.app) + "\n"
        if os.environ.get("GOLDEN_SCREENS") == "write":
            golden.write_text(shown, encoding="utf-8")
        assert shown == golden.read_text(encoding="utf-8")
        assert ("38;2;" in shown) is (name in THEMES), "the terminal's own colours are named, and not mixed"
        assert "tidy the imports" in screen(app)

    played(still, play, "runs")


def still_app(page: Console) -> SteadyApp:
    assert isinstance(page.app, SteadyApp)
    return page.app


def test_the_setting_is_asked_of_the_coordinator_and_none_answers_is_the_terminals_own(scene: Scene) -> None:
    client = WorldClient(scene.world)
    assert read_theme(client) == OWN
    said = scene.world.http.post("/v1/config/set", {"by": "ada", "key": "theme", "value": "dark"})
    assert said.status_code == 200, said.text
    assert read_theme(client) == "dark"
    rows = scene.world.http.get("/v1/config").json()["settings"]
    assert next(one["origin"] for one in rows if one["key"] == "theme").endswith("settings.json:2")
    wrong = scene.world.http.post("/v1/config/set", {"by": "ada", "key": "theme", "value": "neon"})
    assert wrong.json()["code"] == "bad_value" and read_theme(client) == "dark"
    client.is_away = True
    with pytest.raises(NotRunningError):
        client.get("/v1/config")
    assert read_theme(client) == OWN


@pytest.mark.parametrize(("set_to", "plain"), [("light", False), ("light", True), ("nosuch", False)])
def test_it_is_worn_after_the_start_but_never_where_no_colour_is_wanted(
    still: Scene, monkeypatch: pytest.MonkeyPatch, set_to: str, plain: bool
) -> None:
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")

    async def play(app: Console, pilot: Pilot[int]) -> None:
        page = still_app(app)
        page._ask_theme = lambda: set_to
        await shows(app, pilot, "tidy the imports")
        await pilot.press("R")
        if set_to in THEMES and not plain:
            await comes(app, pilot, lambda: GROUNDS[set_to] in written(page), "the ground")
        else:
            await pilot.pause(0.5)
            assert page.ansi_color and "48;2;" not in written(page)

    played(still, play, "runs")
