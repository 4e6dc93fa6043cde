"""A home that another node agent laid out: an older one's is made ours, a newer one's is not touched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.cli import main as cli
from node_agent.machine.home import LAYOUT, OLDEST, SettingsError, take_over
from tests.integration.node.node_world import NodeWorld


@pytest.fixture
def old(tmp_path: Path) -> Iterator[NodeWorld]:
    """Not begun."""
    world = NodeWorld(tmp_path)
    world.home.journal.mkdir(parents=True, exist_ok=True)
    (world.home.journal / "r-kept.1.1").mkdir()
    (world.home.journal / "r-kept.1.1" / "journal").write_bytes(b"what a newer one wrote")
    yield world
    world.end()


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_new_home_has_the_number(world: NodeWorld) -> None:
    assert world.home.layout.read_text() == f"{LAYOUT}\n"


def test_an_older_home_that_can_be_read_gets_the_number(old: NodeWorld) -> None:
    old.home.layout.write_text(f"{OLDEST}\n")
    take_over(old.home)
    assert old.home.layout.read_text() == f"{LAYOUT}\n" and OLDEST < LAYOUT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{LAYOUT + 1}\n", f"has layout {LAYOUT + 1} of a newer"),
        (f"{OLDEST - 1}\n", f"has layout {OLDEST - 1} of an older"),
        ("torn", "does not contain a layout number"),
    ],
)
def test_what_another_one_wrote_is_not_touched(old: NodeWorld, text: str, words: str) -> None:
    old.home.layout.write_text(text)
    before = files(old.home.root)
    with pytest.raises(SettingsError, match=words):
        old.built()
    assert files(old.home.root) == before
    argv = [sys.executable, "-m", "node_agent", "run", "--home", str(old.home.root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == cli.BAD_SETTINGS
    assert (
        words in done.stderr and "\n  fix: start this fleet with the last version of PanCode" in done.stderr
    )
    assert files(old.home.journal) == {
        name.removeprefix("journal/"): data for name, data in before.items() if name.startswith("journal/")
    }
