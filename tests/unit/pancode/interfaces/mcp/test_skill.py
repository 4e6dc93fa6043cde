"""Our skill holds to the format's rules, names commands that exist, and comes and goes without a trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pancode.interfaces.cli.main import COMMANDS
from pancode.interfaces.mcp.skills import FOLDERS, NAME, changes, skill_text
from pancode.interfaces.mcp.tools import TOOLS
from pancode.kernel.errors import ConflictError

KEYS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}


def head_and_body() -> tuple[dict[str, str], str]:
    found = re.fullmatch(r"---\n(.+?)\n---\n(.+)", skill_text(), re.DOTALL)
    assert found is not None
    return yaml.safe_load(found[1]), found[2]


def test_it_holds_to_the_format() -> None:
    head, body = head_and_body()
    assert set(head) <= KEYS and head["name"] == NAME
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"]) and len(head["name"]) <= 64
    assert 1 <= len(head["description"]) <= 1_024 and "<" not in head["description"]
    assert len(head["compatibility"]) <= 500
    assert len(body.splitlines()) < 500


def test_what_it_names_exists() -> None:
    _, body = head_and_body()
    commands = set(re.findall(r"pancode ([a-z]+)", body))
    assert commands <= set(COMMANDS), commands - set(COMMANDS)
    tools = {tool.name for tool in TOOLS}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", body)) - {"pancode"}
    assert named <= tools, named - tools


def test_it_is_written_to_both_folders_and_taken_away(tmp_path: Path) -> None:
    made = changes(tmp_path, install=True)
    assert [one.before for one in made] == [None, None]
    for one in made:
        one.make()
    texts = {(tmp_path / folder / NAME / "SKILL.md").read_text() for folder in FOLDERS}
    assert texts == {skill_text()} and not any(one.needed for one in changes(tmp_path, install=True))
    (tmp_path / FOLDERS[0] / NAME / "SKILL.md").write_text(skill_text() + "old\n")
    (old,) = [one for one in changes(tmp_path, install=True) if one.needed]
    assert "-old" in old.diff()
    for one in changes(tmp_path, install=False):
        one.make()
    assert not any((tmp_path / folder / NAME).exists() for folder in FOLDERS)
    assert not any(one.needed for one in changes(tmp_path, install=False))


def test_a_skill_of_somebody_else_stays(tmp_path: Path) -> None:
    file = tmp_path / FOLDERS[1] / NAME / "SKILL.md"
    file.parent.mkdir(parents=True)
    file.write_text("---\nname: pancode\n---\nabout frying\n")
    for install in (True, False):
        with pytest.raises(ConflictError):
            changes(tmp_path, install=install)
    assert "frying" in file.read_text()
