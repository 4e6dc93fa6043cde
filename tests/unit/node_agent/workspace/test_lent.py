"""What is lent to the agent alone: when it lies in the home, and that taking it back follows no link."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.workspace import homes
from node_agent.workspace.folders import AttemptFolders

FILES = {"codex/auth.json": b"login"}


@pytest.fixture
def places(tmp_path: Path) -> AttemptFolders:
    places = AttemptFolders(tmp_path / "attempt")
    (places.home / "codex").mkdir(parents=True)
    return places


def test_it_comes_after_set_up_and_goes_with_what_lies_around_it(places: AttemptFolders) -> None:
    login = places.home / "codex" / "auth.json"
    homes.lend(places, FILES, later=False)
    assert login.read_bytes() == b"login"
    homes.lend(places, FILES, later=True)
    assert not login.exists(), "this try has a set-up, other than the one before"
    homes.renew(places)
    assert login.read_bytes() == b"login" and login.stat().st_mode & 0o077 == 0
    (places.home / "codex" / "copy").write_bytes(b"login")
    for _ in range(2):
        homes.take_back(places)
    homes.renew(places)
    assert not (places.home / "codex").exists() and not (places.folder / homes.LENT).exists()


def test_a_link_in_its_place_is_taken_away_and_not_followed(places: AttemptFolders, tmp_path: Path) -> None:
    homes.lend(places, FILES, later=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "auth.json").write_text("mine")
    (places.home / "codex").rename(places.home / "aside")
    (places.home / "codex").symlink_to(tmp_path / "mine")
    homes.take_back(places)
    assert (tmp_path / "mine" / "auth.json").read_text() == "mine"
    assert not (places.home / "codex").is_symlink()
