"""One fleet for all tests that only look; a fresh one for those that act."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.runs import whole_changes
from tests.unit.pancode.interfaces.tui.scene import Scene


@pytest.fixture(autouse=True)
def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has changed something, although the fleet of these tests has no repository."""
    commits = ("demo-1234", "a" * 40, "c" * 40)
    monkeypatch.setattr(whole_changes, "commits_of", lambda core, run: commits)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Nobody changes it."""
    return Scene(tmp_path_factory.mktemp("still"))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """As `still`, with a project that has a tracker."""
    made = Scene(tmp_path_factory.mktemp("tracked"))
    made.track(tmp_path_factory.mktemp("shop") / "shop")
    return made
