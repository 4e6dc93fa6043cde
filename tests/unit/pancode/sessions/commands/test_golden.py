"""Golden screens of the chat as text, 80 x 24 and 120 x 40; `GOLDEN_SCREENS=write` draws them anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from pancode.interfaces.tui.themes import OWN
from tests.unit.pancode.interfaces.tui.test_themes import GROUNDS, written
from tests.unit.pancode.sessions.commands.scene import ChatScene, asks, played, shape

GOLDEN = Path(__file__).parent / "golden"
WRITES = os.environ.get("GOLDEN_SCREENS") == "write"
TALK: tuple[dict[str, Any], ...] = (
    {"type": "turn", "number": 1, "words": 0, "by": "ada", "text": "why is the build slow?", "at": 0},
    {"type": "called", "id": "1", "tool": "bash", "command": "time make"},
    {"type": "ran", "id": "1", "ok": True, "output": "3 failed"},
    {"type": "called", "id": "2", "tool": "edit", "path": "Makefile"},
    {"type": "ran", "id": "2", "ok": True, "diff": "-ld\n+lld"},
    {"type": "heard", "number": 2, "by": "ben", "text": "and the tests?"},
    {
        "type": "said",
        "text": "The **linker** takes most of it:\n\n- `ld` 40 s\n- `lld` 4 s\n\n```\nmake -j8\n```\n",
    },
)
SCREENS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "works": (shape("works"), (), "works"),
    "call": (asks("call", "git push --force origin main", 3), ("tab",), "allow once"),
    "question": (asks("question", "Which linker?", None, "lld", "mold"), (), "2 mold"),
    "unfolded": (shape("waits for you"), ("ctrl+o",), "+lld"),
    "commands": (shape("rests"), ("slash", "c"), "/cost"),
    "lost": (shape("turn lost"), ("ctrl+up",), "the turn was interrupted"),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", sorted(SCREENS))
def test_a_screen_is_as_it_was(name: str, size: tuple[int, int]) -> None:
    told, presses, words = SCREENS[name]
    golden = GOLDEN / f"{name}-{size[0]}x{size[1]}.txt"

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(*TALK)
        await scene.shows(pilot, "make -j8")
        scene.api.becomes(told)
        await scene.until(pilot, lambda: scene.page.shape == told, "the state")
        await pilot.press(*presses)
        await scene.shows(pilot, words)
        if WRITES:
            await pilot.pause(1)
            golden.write_text(scene.screen + "\n", encoding="utf-8")
        wanted = golden.read_text(encoding="utf-8")
        await scene.until(pilot, lambda: f"{scene.screen}\n" == wanted, wanted)

    played(ChatScene(), play, size)


@pytest.mark.parametrize("name", ["dark", "light", OWN])
def test_a_talk_has_the_colours_of_its_theme_alone(name: str) -> None:
    told, golden = shape("works"), GOLDEN.parent / f"themes/works-{name}.ansi"

    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        scene.api.writes(*TALK)
        await scene.shows(pilot, "make -j8")
        scene.api.becomes(told)
        await scene.until(pilot, lambda: scene.page.shape == told, "the state")
        scene.app.wear(name)
        await scene.shows(pilot, "works")
        if WRITES:
            await pilot.pause(1)
            golden.write_text(written(scene.app) + "\n", encoding="utf-8")
        wanted = golden.read_text(encoding="utf-8")
        await scene.until(pilot, lambda: f"{written(scene.app)}\n" == wanted, wanted)
        assert [one for one, ground in GROUNDS.items() if ground in wanted] == [name][: name in GROUNDS]

    played(ChatScene(), play)


def test_a_theme_that_is_chosen_in_the_talk_is_asked_for_again() -> None:
    async def play(scene: ChatScene, pilot: Pilot[int]) -> None:
        await pilot.pause()
        scene.app._ask_theme = lambda: "light"
        scene.page._show_panel(("/theme light", "theme: terminal -> light"))
        await scene.until(pilot, lambda: "48;2;255;255;255" in written(scene.app), "the ground")

    played(ChatScene(), play)


def test_every_golden_screen_has_its_case() -> None:
    assert {path.name.rpartition("-")[0] for path in GOLDEN.iterdir()} == set(SCREENS)
