"""The configuration at the moment of a call, the repository around a folder, the paths that a task names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pancode.config.user_environment import FileSurroundings
from pancode.kernel.errors import ConfigError
from pancode.runs.request import PathFact
from pancode.runs.user_environment import SettingSaid
from pancode.skills.assignment import find_skills
from pancode.skills.library import KeptSkills
from pancode.skills.sources import read_skill


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository with a file, beside a folder whose name continues where its own ends."""
    for folder in ("home", "shop/.git", "shop/web/src", "shop-old", "user"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("shop/web/src/a.py", "shop/top.py", "shop-old/b.py", "user/notes.txt"):
        (tmp_path / file).write_text("")
    (tmp_path / "shop" / "out.py").symlink_to(tmp_path / "shop-old" / "b.py")
    return tmp_path / "shop"


@pytest.fixture
def around(tmp_path: Path, shop: Path) -> FileSurroundings:
    environ = {"HOME": str(tmp_path / "user"), "PANCODE_DISPATCH_MAX_DEPTH": "3"}
    return FileSurroundings(tmp_path / "home", environ, machine=tmp_path / "none")


def test_a_file_counts_from_the_moment_it_is_written(
    around: FileSurroundings, tmp_path: Path, shop: Path
) -> None:
    assert around.defaults(str(shop)).agent is None
    assert around.project(str(shop)).verify == ()
    (shop / "pancode.yaml").write_text("verify: [make check]\ndispatch: {agent: scout}\n")
    assert around.project(str(shop)).verify == (("make", "check"),)
    assert around.defaults(str(shop)).agent == "scout"
    assert around.defaults(None).agent is None
    (shop / "pancode.yaml").write_text("verify: [")
    with pytest.raises(ConfigError, match=r"shop/pancode\.yaml:1"):
        around.project(str(shop))
    assert around.defaults(None).agent is None
    (shop / "pancode.yaml").unlink()
    assert around.defaults(str(shop)).agent is None
    assert around.max_depth() == 3


def test_unchanged_files_are_not_read_again(around: FileSurroundings, shop: Path) -> None:
    assert around.loaded(str(shop)) is around.loaded(str(shop))
    assert around.agents(None) is around.agents(None)


def test_agents_follow_their_file_and_the_settings(around: FileSurroundings, tmp_path: Path) -> None:
    assert len(around.agents(None)) == 8
    (tmp_path / "home" / "panagents.yaml").write_text("agents: {mine: {tags: [a]}}")
    assert around.agents(None)["mine"].tags == ("a",)
    (tmp_path / "home" / "pancode.yaml").write_text("models: {scout: haiku}")
    assert around.agents(None)["scout"].model == "haiku"


def test_agents_follow_the_files_of_their_prompts(around: FileSurroundings, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "panagents.yaml").write_text("agents: {reviewer: {prompt: strict}}")
    with pytest.raises(ConfigError, match="'strict'"):
        around.agents(None)
    (home / "prompts").mkdir()
    (home / "prompts" / "strict.md").write_text("You are strict.")
    assert around.agents(None)["reviewer"].prompt == "You are strict."
    (home / "prompts" / "strict.md").write_text("You are stricter.")
    assert around.agents(None)["reviewer"].prompt == "You are stricter."


def test_what_a_repository_says_to_agents_is_measured(around: FileSurroundings, shop: Path) -> None:
    assert around.project(str(shop)).guide_chars == 0
    (shop / "AGENTS.md").write_text("x" * 100)
    assert around.project(str(shop)).guide_chars == 100
    (shop / "AGENTS.md").write_text("x" * 100_000)
    assert around.project(str(shop)).guide_chars == 32 << 10, "more than that no node hands on"


def test_every_setting_has_its_origin(around: FileSurroundings) -> None:
    said = around.origins(None)
    assert said["dispatch.max_depth"] == SettingSaid("3", "PANCODE_DISPATCH_MAX_DEPTH")
    assert said["budget.ceiling"].origin == "built-in"


def test_the_repository_around_a_folder(around: FileSurroundings, tmp_path: Path, shop: Path) -> None:
    assert around.project_of(str(shop / "web" / "src")) == str(shop)
    assert around.project_of(str(shop)) == str(shop)
    assert around.project_of(str(tmp_path / "shop-old")) is None
    (tmp_path / "link").symlink_to(shop / "web")
    assert around.project_of(str(tmp_path / "link")) == str(shop)
    (tmp_path / "shop-old" / ".git").write_text("gitdir: elsewhere\n")
    assert around.project_of(str(tmp_path / "shop-old")) == str(tmp_path / "shop-old")


def test_paths_of_a_task(around: FileSurroundings, tmp_path: Path, shop: Path) -> None:
    def facts(task: str, cwd: Path) -> list[tuple[str, bool, bool]]:
        found = around.paths(task, str(cwd), str(shop))
        return [(fact.word, fact.inside, fact.exists) for fact in found]

    web = shop / "web"
    assert facts("fix src/a.py and web/src/a.py and src/new.py", web) == [
        ("src/a.py", True, True),
        ("web/src/a.py", True, True),
        ("src/new.py", True, False),
    ]
    assert facts("see ../top.py ../../shop-old/b.py ~/notes.txt", web) == [
        ("../top.py", True, True),
        ("../../shop-old/b.py", False, True),
        ("~/notes.txt", False, True),
    ]
    assert facts("scout the src/ folder, web/src and/or TCP/IP and src/gone", web) == [
        ("src/", True, True),
        ("web/src", True, True),
    ], "a word with a slash is a path where something is there"
    assert facts("serve /api/v1/list.json", web) == []
    assert facts(f"read {tmp_path}/shop-old/b.py and /etc/shadow.none", web) == [
        (f"{tmp_path}/shop-old/b.py", False, True),
        ("/etc/shadow.none", False, False),
    ]
    assert around.paths("read ./out.py", str(shop), str(shop)) == (
        PathFact("./out.py", os.path.realpath(tmp_path / "shop-old" / "b.py"), False, True),
    )
    assert around.paths("read /etc/passwd", str(shop), None) == ()


def test_a_repository_gets_no_secret_that_its_owner_did_not_allow(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    (project / "pancode.yaml").write_text("secrets: [API_KEY, DB]\n")
    around = FileSurroundings(home, {}, machine=tmp_path / "none")
    with pytest.raises(ConfigError, match="API_KEY, DB") as refused:
        around.project(str(project))
    assert "allow: {secrets: [API_KEY, DB]}" in refused.value.fix
    (home / "pancode.yaml").write_text("allow: {secrets: [API_KEY, DB]}\n")
    assert around.project(str(project)).secrets == ("API_KEY", "DB")


def test_a_repository_cannot_allow_itself_anything(tmp_path: Path) -> None:
    (tmp_path / "pancode.yaml").write_text("allow: {secrets: [API_KEY]}\n")
    around = FileSurroundings(tmp_path / "home", {}, machine=tmp_path / "none")
    with pytest.raises(ConfigError, match="allow"):
        around.project(str(tmp_path))


def test_skills_of_the_project_count_unless_a_setting_or_a_link_says_no(tmp_path: Path, shop: Path) -> None:
    around = FileSurroundings(tmp_path / "home", {}, machine=tmp_path / "none", find_skills=find_skills)
    text = "---\nname: {0}\ndescription: Do {0}.\n{1}---\nDo it.\n"
    for folder, name, more in (
        (shop / ".pancode/skills", "look", ""),
        (shop / ".claude/skills", "open", "allowed-tools: Bash(*)\n"),
        (tmp_path / "home/skills", "deploy", ""),
        (tmp_path / "elsewhere", "stranger", ""),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "SKILL.md").write_text(text.format(name, more))
    (shop / ".agents").mkdir()
    (shop / ".agents/skills").symlink_to(tmp_path / "elsewhere")
    top = str(shop)
    told = around.skills(top, ())
    assert [one.name for one in told.ordered] == ["look"]
    (left_out,) = told.left_out
    assert "pancode skills agree open" in left_out
    assert [one.name for one in around.skills(top, ("deploy",)).ordered] == ["deploy", "look"]
    assert [one.name for one in around.skills(None, ("deploy",)).ordered] == ["deploy"]
    KeptSkills(tmp_path / "home").agree([read_skill(shop / ".claude/skills/open")])
    assert [one.name for one in around.skills(top, ()).ordered] == ["look", "open"]
    (tmp_path / "home/pancode.yaml").write_text("skills: {project: false}\n")
    assert around.skills(top, ()).ordered == ()


def test_settings_of_a_package_are_named_as_not_read(around: FileSurroundings, shop: Path) -> None:
    (shop / "pancode.yaml").write_text("")
    assert around.list_unread(str(shop), "web/src") == around.list_unread(str(shop), "") == ()
    (shop / "web/pancode.yaml").write_text("verify: [make check]\n")
    (words,) = around.list_unread(str(shop), "web/src")
    assert words.startswith("web/pancode.yaml is not read") and "cd web && ..." in words
