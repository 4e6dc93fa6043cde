"""A run begins at the top of its repository; who asked from below is told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.pancode.api.world import World


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "repo"
    (top / ".git").mkdir(parents=True)
    (top / "web/app").mkdir(parents=True)
    return top


def warned(world: World, **more: Any) -> list[str]:
    answer = world.http.post("/v1/runs", {"task": "true", "runtime": "shell", **more}).json()
    found: list[str] = answer["warnings"]
    return [text for text in found if "begins at the top" in text]


def test_from_below_the_top(top: Path, tmp_path: Path) -> None:
    assert warned(World(tmp_path), cwd=str(top / "web/app")) == [
        f"the run begins at the top of {top}, not in web/app (fix: say so in the task: cd web/app)"
    ]


def test_from_the_top_or_without_a_repository(top: Path, tmp_path: Path) -> None:
    assert warned(World(tmp_path), cwd=str(top)) == []
    assert warned(World(tmp_path / "other"), cwd=str(top / "web"), workspace="none") == []
