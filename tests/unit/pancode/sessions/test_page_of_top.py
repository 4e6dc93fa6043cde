"""The page of sessions of `top`, and the chat above it."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.interfaces.tui.app import Console
from pancode.kernel.errors import NotFoundError
from tests.unit.pancode.interfaces.tui.scene import SPITEFUL, Scene, played, screen, shows
from tests.unit.pancode.interfaces.tui.test_golden import look, sizes
from tests.unit.pancode.sessions.test_sessions import begin, say


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """With a session that waits for its slot, with words beside the first ones."""
    made = Scene(tmp_path_factory.mktemp("talked"))
    node = made.world.node
    served = (*node.facts.runtimes, RuntimeFact(name="native", state="ok"))
    node.facts = node.facts.model_copy(update={"runtimes": served, "isolation": Isolation.SANDBOX})
    node.breathe()
    run = begin(made.world, task="why is the build slow?", by="ada")["run"]
    say(made.world, run, f"and now? {SPITEFUL}", by="ben")
    return made


@sizes
def test_it_is_as_it_was(scene: Scene, size: tuple[int, int]) -> None:
    golden = Path(__file__).parent / "screens" / f"sessions-{size[0]}x{size[1]}.txt"
    look(scene, "sessions", (), "and now?", golden, size)


def test_a_chat_stands_above_its_row_until_one_leaves_it(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "and now?")
        await pilot.press("enter")
        told = await shows(app, pilot, "talking with r-")
        assert "and now?" not in told
        await pilot.press("q", "colon", "j")
        assert "talking with r-" in screen(app), "its keys are not keys of the page below"
        await pilot.press("escape")
        await shows(app, pilot, "and now?")
        assert len(scene.chats) == 1 and app.app.screen is app
        await pilot.press("enter")
        await shows(app, pilot, "talking with r-")
        scene.chats[1].crashed(NotFoundError("it was forgotten"))
        await shows(app, pilot, "it was forgotten")
        await shows(app, pilot, "and now?")

    played(scene, play, "sessions")
