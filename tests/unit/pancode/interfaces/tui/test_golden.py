"""Golden screens as text, 80 x 24 and 120 x 40; `GOLDEN_SCREENS=write` draws them anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pancode.interfaces.tui.app import Console
from pancode.interfaces.tui.canvas import Canvas
from tests.unit.pancode.interfaces.tui.scene import Scene, comes, played, screen, shows

GOLDEN = Path(__file__).parent / "golden"
WRITES = os.environ.get("GOLDEN_SCREENS") == "write"
SCREENS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "status": ("status", (), "write the tests"),
    "runs": ("runs", (), "tidy the imports"),
    "nodes": ("nodes", (), "not heard for"),
    "waiting": ("waiting", (), "a new disk"),
    "inbox": ("inbox", (), "Which port?"),
    "budget": ("budget", (), "agent builder"),
    "workflows": ("workflows", (), "checks"),
    "steps": ("workflows", ("enter",), "lint"),
    "issues": ("issues", (), "Enter asks"),
    "open": ("issues", ("j", "enter"), "Log out"),
    "run": ("runs", ("j", "j", "j", "enter"), "STORY"),
    "log": ("runs", ("j", "j", "j", "l"), "(end of the log)"),
    "diff": ("runs", ("j", "j", "j", "d"), "+++ b"),
    "filter": ("runs", ("slash", "t", "i", "d", "y"), "/tidy"),
    "keys": ("status", ("question_mark",), "answer the question"),
    "stop": ("runs", ("j", "j", "s"), "Stop run"),
}
sizes = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")


def beside_is_of_the_marked_row(page: Console) -> bool:
    """Whether the preview, if there is one, shows the run of the marked row, as it was read."""
    canvas = page.query_one(Canvas)
    shown = "".join(text for line in canvas.beside.told or () for text, _ in line)
    run = "" if canvas.row is None else str(canvas.row.shape.get("run") or "")
    return not shown or (run in shown and "reading ..." not in shown)


def look(
    scene: Scene, begin: str, presses: Sequence[str], words: str, golden: Path, size: tuple[int, int]
) -> None:
    """Press these keys; the screen that then shows these words is the golden one."""

    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "as of")
        for key in presses:
            await pilot.press(key)
            await comes(app, pilot, lambda: beside_is_of_the_marked_row(app), "what stands beside")
        await shows(app, pilot, words)
        await comes(app, pilot, lambda: beside_is_of_the_marked_row(app), "what stands beside")
        if WRITES:
            await pilot.pause(1)
            golden.write_text(screen(app) + "\n", encoding="utf-8")
        wanted = golden.read_text(encoding="utf-8")
        for _ in range(100):  # the footer and the last lines of a busy machine come a little later
            if screen(app) + "\n" == wanted:
                break
            await pilot.pause(0.02)
        assert screen(app) + "\n" == wanted

    played(scene, play, begin, size)


@sizes
@pytest.mark.parametrize("name", sorted(SCREENS))
def test_a_screen_is_as_it_was(request: pytest.FixtureRequest, name: str, size: tuple[int, int]) -> None:
    scene: Scene = request.getfixturevalue({"issues": "tracked", "open": "tracked"}.get(name, "still"))
    look(scene, *SCREENS[name], GOLDEN / f"{name}-{size[0]}x{size[1]}.txt", size)


def test_every_golden_screen_has_its_case() -> None:
    assert {path.name.rpartition("-")[0] for path in GOLDEN.iterdir()} == set(SCREENS)
