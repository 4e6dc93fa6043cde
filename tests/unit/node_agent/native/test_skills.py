"""Skills of a run of our own worker: named in the prompt, read by a tool, and nothing outside of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.native.equipment import system_of
from node_agent.native.places import NotFound, Outside, Tree
from node_agent.native.tools.files import Box, Failed
from node_agent.native.tools.offer import list_forms
from node_agent.native.tools.skills import read_skill_file
from node_agent.runtimes.workers import _read_description
from node_agent.wire.skill import JobSkill, digest_of, pack_files
from tests.unit.node_agent.native.tree_of import box_of, checkout, spec_of

TEXT = "---\nname: release\ndescription: >-\n  How we release:\n  tags and notes.\n---\nTag it, then tell.\n"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    folder = tmp_path / "pancode/skills/release"
    (folder / "more").mkdir(parents=True)
    (folder / "SKILL.md").write_text(TEXT)
    (folder / "more/notes.md").write_text("the notes\n")
    (folder / "out").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("s3cret")
    made = box_of(spec_of(checkout(tmp_path), tools=("skill",)))
    made.skills = {"release": Tree(str(folder), "")}
    return made


def test_its_instructions_and_its_other_files(box: Box) -> None:
    told = read_skill_file(box, {"name": "release"})
    assert "Tag it, then tell." in told and "[its other files: more/notes.md]" in told
    assert read_skill_file(box, {"name": "release", "file": "more/notes.md"}) == "the notes\n"


@pytest.mark.parametrize("file", ["../../../secret", "/etc/passwd", "out/secret"])
def test_it_leads_to_nothing_else(box: Box, file: str) -> None:
    with pytest.raises((Outside, NotFound)):
        read_skill_file(box, {"name": "release", "file": file})


@pytest.mark.parametrize("name", ["other", "../release", ""])
def test_another_name_is_an_error_that_says_what_there_is(box: Box, name: str) -> None:
    with pytest.raises(Failed, match="it has release"):
        read_skill_file(box, {"name": name})


def test_the_prompt_names_them_and_nothing_where_there_are_none(tmp_path: Path) -> None:
    ordered = {"SKILL.md": (TEXT.encode(), False)}
    one = JobSkill(name="release", digest=digest_of(ordered), packed=pack_files(ordered))
    spec = spec_of(checkout(tmp_path), skills={"release": _read_description(one)})
    (tool,) = list_forms(["skill"])
    assert "- release: How we release: tags and notes." in system_of(spec, [tool.name])
    assert "skill" not in system_of(spec_of(checkout(tmp_path / "none")), ["read"])
