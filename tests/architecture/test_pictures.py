"""Holds the pictures of a terminal to what was recorded, and the drawing to what a reader may load."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from docs.pictures.draw import draw
from docs.pictures.record import settled
from docs.pictures.scenes import SCENES
from tests.architecture.sources import ROOT

PICTURES = ROOT / "docs/pictures"
SHOWN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", SCENES)
def test_a_picture_is_as_it_is_drawn(name: str) -> None:
    recorded = (PICTURES / f"{name}.ansi").read_text(encoding="utf-8")
    drawn = draw(SCENES[name].title, recorded)
    told = f"docs/pictures/{name}.svg is out of date: python -m docs.pictures"
    assert (PICTURES / f"{name}.svg").read_text(encoding="utf-8") == drawn, told
    assert all(f"$ {typed}" in recorded for typed in SCENES[name].typed)


def test_every_picture_is_shown_and_there_is_no_other() -> None:
    assert {path.stem for path in PICTURES.glob("*.svg")} == set(SCENES)
    shown = set(re.findall(r"pictures/(\w+)\.svg", "".join(page.read_text() for page in SHOWN)))
    assert shown == set(SCENES)


def test_a_picture_holds_text_and_loads_nothing() -> None:
    drawn = draw("a < b", "\x1b[1m$ echo '<b>'\x1b[0m & \x1b[31mred\x1b[0m\n")
    tree = ElementTree.fromstring(drawn)
    assert "".join(tree.itertext()).split() == "a < b $ echo '<b>' & red".split()
    assert 'fill="#ff7b72"' in drawn and "\x1b" not in drawn
    assert not re.search(r"href|url\(|@import|<script", drawn) and drawn.count("http") == 1


def test_what_differs_each_time_is_settled() -> None:
    first = "r-abc123  done in 2.1 s at 01-02  03:04:05, commit 0a1b2c3d4e5f\n"
    assert settled(first) == settled(first.replace("abc123", "zz9zz9").replace("2.1", "17"))
    assert settled("exit 0, 1 file changed\n") == "exit 0, 1 file changed\n"
