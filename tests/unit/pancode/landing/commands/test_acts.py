"""The requests of the console about landings fit the API."""

from __future__ import annotations

from tests.unit.pancode.interfaces.tui.conftest import scene
from tests.unit.pancode.interfaces.tui.scene import Scene
from tests.unit.pancode.interfaces.tui.test_acts import send_each

__all__ = ["scene"]


def test_the_api_takes_each_request_about_a_landing(scene: Scene) -> None:
    send_each(scene, {(name, "run"): scene.done for name in ("land", "drop", "resolve")}, {})
