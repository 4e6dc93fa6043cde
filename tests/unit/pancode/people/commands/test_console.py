"""A user answers and denies at the console what waits for them, and the requests of its acts fit the API."""

from __future__ import annotations

from textual.pilot import Pilot

from pancode.interfaces.tui.app import Console
from tests.unit.pancode.interfaces.tui.conftest import scene
from tests.unit.pancode.interfaces.tui.scene import Scene, comes, played, screen, shows
from tests.unit.pancode.interfaces.tui.test_acts import act, send_each
from tests.unit.pancode.interfaces.tui.test_console import posts

__all__ = ["scene"]


def test_a_refusal_is_told_with_its_fix(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "Which port?")
        await pilot.press("a")
        await shows(app, pilot, "Your answer to")
        assert "2: 9090" in screen(app)
        await pilot.press("7", "enter")
        await shows(app, pilot, "choice 7 not found")
        await shows(app, pilot, f"pancode answer {scene.asks} 1")

    played(scene, play, "inbox")
    assert posts(scene)[0] == (f"/v1/runs/{scene.asks}/answer", {"by": "ada", "text": "7"})


def test_a_question_is_denied(scene: Scene) -> None:
    async def play(app: Console, pilot: Pilot[int]) -> None:
        await shows(app, pilot, "Which port?")
        await pilot.press("n")
        await shows(app, pilot, "Deny “choose the port”")
        await pilot.press("y")
        await comes(app, pilot, lambda: "Asks you" not in screen(app), "the inbox without the question")

    played(scene, play, "inbox")
    assert posts(scene) == [(f"/v1/runs/{scene.asks}/deny", {"by": "ada"})]


def test_the_api_takes_each_request_about_an_item(scene: Scene) -> None:
    told = ("tell", "run")
    send_each(scene, {told: scene.waits}, {told: "cannot take messages|cannot be told"})
    (item,) = scene.client.get("/v1/inbox")["items"]
    (need,) = scene.client.get("/v1/now")["groups"][0]["needs"]
    assert need["item"] == item
    scene.client.post(act("deny", "item", {**need, **item}).path, {"by": "ada"})
    assert scene.client.get("/v1/inbox")["items"] == []
