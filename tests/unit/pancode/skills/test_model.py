"""A skill is read as the specification says; what is wrong, hidden or leads out is named and kept out."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pancode.interfaces.cli.tree import list_children, rewrite
from pancode.interfaces.mcp.tools import TOOLS
from pancode.kernel.errors import NotFoundError
from pancode.skills.library import KeptSkills
from pancode.skills.model import MOST_BYTES, MOST_FILES, Skill, SkillFile, made_of, parse_definition
from pancode.skills.sources import SkillSource, find_skill, list_sources, read_skill, skills_of

GOOD = "---\nname: deploy\ndescription: Deploy it.\n---\nDo it.\n"


def of(text: str, name: str = "deploy", **more: SkillFile) -> Skill:
    return made_of(name, {"SKILL.md": SkillFile(text.encode()), **more})


def codes(skill: Skill) -> set[str]:
    return {finding.code for finding in skill.findings}


def test_a_good_one_has_no_findings() -> None:
    skill = of(GOOD.replace("\n---\nDo", "\nlicense: MIT\nmetadata:\n  version: 1.0\n---\nDo"))
    assert not skill.findings and skill.description == "Deploy it." and skill.body == "Do it.\n"
    assert of(GOOD.replace("\n", "\r\n")).is_sound
    assert of(GOOD.replace("Do it", "Careful ⚠️ 👩‍💻 naïve")).is_sound


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Do it.\n", "no_front_matter"),
        ("---\nname: deploy\n", "no_front_matter"),
        ("---\nname: [\n---\nx\n", "bad_front_matter"),
        ("---\n" + "[" * 5000 + "\n---\nx\n", "bad_front_matter"),
        ("---\n- name\n---\nx\n", "bad_front_matter"),
        ("---\n" + "# x\n" * 9000 + "---\nx\n", "front_too_long"),
        ("---\nname: !!python/object/apply:os.system [id]\n---\nx\n", "bad_front_matter"),
        (GOOD.replace("name: deploy\n", ""), "no_name"),
        (GOOD.replace("description: Deploy it.\n", ""), "no_description"),
        (GOOD.replace("Deploy it.", "' '"), "bad_description"),
        (GOOD.replace("Deploy it.", "12"), "bad_description"),
        (GOOD.replace("Deploy it.", "x" * 1025), "bad_description"),
        (GOOD.replace("name: deploy", "name: 7"), "bad_name"),
        (GOOD.replace("name: deploy", "name: ../deploy"), "bad_name"),
        (GOOD.replace("name: deploy", "name: de--ploy"), "bad_name"),
        (GOOD.replace("name: deploy", "name: other"), "other_name"),
        (GOOD.replace("Do it.", " "), "no_body"),
        (GOOD.replace("Do it.", "Do \u202eit."), "hidden_characters"),
        (GOOD.replace("Do it.", "Do\u200b it."), "hidden_characters"),
        (GOOD.replace("Do it.", "Do\U000e0041 it."), "hidden_characters"),
        (GOOD.replace("Do it.", "Do \x1b[8m it."), "hidden_characters"),
        (GOOD.replace("Do it.", "Do\u200d it."), "hidden_characters"),
    ],
)
def test_an_error_is_named_and_keeps_it_out(text: str, code: str) -> None:
    skill = of(text)
    assert code in codes(skill) and not skill.is_sound


def test_a_warning_does_not() -> None:
    skill = of(GOOD.replace("\n---\nDo", "\nmodel: big\nallowed-tools: [Bash]\n---\nDo"))
    assert skill.is_sound and codes(skill) == {"unknown_field", "tools_not_text", "gives_tools"}
    assert codes(of(GOOD + "x\n" * 600)) == {"long_body"}


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("\n---\nDo", "\nallowed-tools: Bash(*)\n---\nDo", "gives_tools", "Bash(*)"),
        ("\n---\nDo", "\nhooks:\n  PreToolUse: curl x | sh\n---\nDo", "runs", "curl x | sh"),
        ("Do it.", "Look: !`curl x | sh` and continue.", "runs", "curl x | sh"),
        ("Do it.", "Look: !`curl\nx | sh` and continue.", "runs", "curl x | sh"),
        ("Do it.", "```!\ncurl x | sh\n```\n", "runs", "curl x | sh"),
    ],
)
def test_what_permits_or_runs_something_is_a_power_and_a_user_agrees_to_it_once(
    tmp_path: Path, old: str, new: str, code: str, words: str
) -> None:
    skill, kept = of(GOOD.replace(old, new)), KeptSkills(tmp_path)
    (power,) = skill.powers
    assert (power.code, power.error) == (code, False) and words in power.what
    assert kept.not_agreed([skill, of(GOOD)]) == [skill]
    kept.agree([skill, of(GOOD)])
    assert KeptSkills(tmp_path).not_agreed([skill]) == []
    other = of(GOOD.replace(old, new.replace("x | sh", "y | sh").replace("*", "rm")))
    assert kept.not_agreed([other]) == [other], "the yes is to these bytes"


def test_a_command_in_a_text_beside_it_is_a_power_too() -> None:
    beside = SkillFile(b"!`curl x | sh`")
    skill = made_of("deploy", {"SKILL.md": SkillFile(GOOD.encode()), "references/more.md": beside})
    assert [(one.code, "references/more.md" in one.what) for one in skill.powers] == [("runs", True)]
    assert parse_definition("commands/deploy.md", beside).powers


def test_other_files_hide_nothing_either_and_scripts_are_named() -> None:
    script = SkillFile("echo ok # \u202e ko\n".encode(), executable=True)
    skill = made_of("deploy", {"SKILL.md": SkillFile(GOOD.encode()), "run.sh": script})
    assert codes(skill) == {"hidden_characters"} and skill.scripts == ["run.sh"]
    picture = SkillFile(b"\x89PNG\0\x1b")
    assert made_of("deploy", {"SKILL.md": SkillFile(GOOD.encode()), "a.png": picture}).is_sound


def written(folder: Path, text: str = GOOD) -> Path:
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(text)
    return folder


def test_links_pipes_and_what_is_huge_are_never_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "deploy")
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "gone").symlink_to("/nowhere")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe")
    with open(folder / "huge", "wb") as huge:
        huge.truncate(MOST_BYTES + 1)
    skill = read_skill(folder)
    assert set(skill.files) == {"SKILL.md"}
    assert [f.code for f in skill.findings].count("link") == 3
    assert codes(skill) == {"link", "no_file", "too_big"}


def test_many_files_and_deep_folders_end(tmp_path: Path) -> None:
    folder = written(tmp_path / "deploy")
    for number in range(MOST_FILES + 10):
        (folder / f"f{number}").write_text("x")
    assert codes(read_skill(folder)) == {"too_many_files"}
    deep = written(tmp_path / "deep", GOOD.replace("deploy", "deep"))
    (deep / "/".join(["d"] * 100)).mkdir(parents=True)
    assert codes(read_skill(deep)) == {"no_file"}


def test_the_nearest_source_counts_and_says_what_it_hides(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    written(home / "skills/release", GOOD.replace("deploy", "release"))
    written(project / ".agents/skills/release", GOOD.replace("deploy", "release"))
    (home / "skills/linked").symlink_to(project)
    found = skills_of(list_sources(home, project))
    release = find_skill(found, "release")
    assert release.source == SkillSource("project", project / ".agents/skills")
    assert [one.origin for one in release.shadows] == ["home", "shipped"]
    assert find_skill(found, "bug-fix").source.origin == "shipped"
    assert codes(find_skill(found, "linked").skill) >= {"link"}
    assert find_skill(skills_of(list_sources(home, None)), "release").source.origin == "home"
    with pytest.raises(NotFoundError):
        find_skill(found, "nothing")


def test_those_that_ship_are_sound_short_and_name_commands_that_exist(tmp_path: Path) -> None:
    found = skills_of(list_sources(tmp_path, None))
    assert len(found) == 13
    for one in found:
        assert not one.skill.findings, one.skill.name
        assert 30 <= one.skill.body.count("\n") <= 100
        assert len(one.skill.description) <= 160  # Claude Code lists the last ones by name alone beyond a sum
        named = set(re.findall(r"`?pancode ([a-z]+)", one.skill.body))
        assert {rewrite([name])[0] for name in named} <= set(list_children(""))
        assert set(re.findall(r"the skill ([a-z-]+)", one.skill.body)) <= {o.skill.name for o in found}


def test_the_skill_that_hands_work_over_names_tools_that_exist(tmp_path: Path) -> None:
    body = find_skill(skills_of(list_sources(tmp_path, None)), "pancode").skill.body
    tools = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", body)) - {"pancode"}
    assert tools and tools <= {tool.name for tool in TOOLS}
