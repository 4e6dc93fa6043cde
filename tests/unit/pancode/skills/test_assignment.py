"""Which skills a run is given, and what its job has of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.skill import JobSkill, digest_of, pack_files
from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError
from pancode.skills import assignment
from pancode.skills.assignment import assign_skills
from pancode.skills.model import Skill
from pancode.skills.sources import FoundSkill, list_sources, read_skill, skills_of

TEXT = "---\nname: {0}\ndescription: Do {0}.\n---\nDo it.\n"


def put(folder: Path, name: str, text: str = TEXT) -> Skill:
    (folder / name).mkdir(parents=True)
    (folder / name / "SKILL.md").write_text(text.format(name))
    return read_skill(folder / name)


@pytest.fixture
def found(tmp_path: Path) -> list[FoundSkill]:
    put(tmp_path / "home" / "skills", "deploy")
    put(tmp_path / "home" / "skills", "release")
    put(tmp_path / "shop" / ".claude" / "skills", "look")
    put(tmp_path / "shop" / ".pancode" / "skills", "release")
    put(tmp_path / "shop" / ".agents" / "skills", "bad", "no front matter")
    return skills_of(list_sources(tmp_path / "home", tmp_path / "shop"))


def test_those_that_are_named_and_those_of_the_project(found: list[FoundSkill]) -> None:
    told = assign_skills(["deploy"], found, ())
    assert [(one.name, one.place) for one in told.ordered] == [
        ("deploy", ""),
        ("look", ".claude/skills"),
        ("release", ".pancode/skills"),
    ], "what ships, and what else lies in the home, is given to those who name it"
    (left_out,) = told.left_out
    assert "bad has errors" in left_out and "pancode config check --kind skills bad" in left_out
    by_name = {one.skill.name: one.skill for one in found}
    for one in told.ordered:
        assert one.digest == by_name[one.name].digest, "copies are compared by the same digest"
        assert one.files() == {"SKILL.md": TEXT.format(one.name).encode()}


def test_what_permits_something_needs_a_yes(found: list[FoundSkill]) -> None:
    told = assign_skills([], found, {"look"})
    assert [one.name for one in told.ordered] == ["release"]
    assert any("pancode skills agree look" in words for words in told.left_out)
    with pytest.raises(RefusedError) as refused:
        assign_skills(["look"], found, {"look"})
    assert refused.value.fix == "pancode skills agree look"


def test_who_names_one_that_cannot_be_given_is_told(found: list[FoundSkill]) -> None:
    with pytest.raises(NotFoundError):
        assign_skills(["nobody"], found, ())
    with pytest.raises(RefusedError, match="has errors"):
        assign_skills(["bad"], found, ())


def test_there_is_a_ceiling(found: list[FoundSkill], monkeypatch: pytest.MonkeyPatch) -> None:
    one = len(assign_skills(["deploy"], found, ()).ordered[0].packed)
    monkeypatch.setattr(assignment, "MOST_PACKED", one + 10)
    told = assign_skills(["deploy"], found, ())
    assert [skill.name for skill in told.ordered] == ["deploy"]
    assert sum("no space" in words for words in told.left_out) == 2
    with pytest.raises(ConfigError, match="release"):
        assign_skills(["deploy", "release"], found, ())


def test_a_job_holds_to_its_digest() -> None:
    files = {"SKILL.md": (b"Do it.\xff\n", False), "go.sh": (b"#!/bin/sh\n", True)}
    text, digest = pack_files(files), digest_of(files)
    made = JobSkill(name="deploy", digest=digest, packed=text)
    assert made.files() == {"SKILL.md": b"Do it.\xff\n", "go.sh": b"#!/bin/sh\n"}
    others = pack_files({"SKILL.md": (b"Do that.\n", False)})
    for wrong in (others, "!", text[:-40], pack_files({})):
        with pytest.raises(ValueError, match="skill deploy"):
            JobSkill(name="deploy", digest=digest, packed=wrong).files()
    out = {"../x": (b"", False)}
    with pytest.raises(ValueError, match="outside its folder"):
        JobSkill(name="deploy", digest=digest_of(out), packed=pack_files(out)).files()
