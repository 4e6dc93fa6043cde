"""What set-up made is put back only where all that set-up can read is the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.job import Workspace
from node_agent.workspace.git import NodeGit
from node_agent.workspace.set_up import NotCached, key_of, machine_facts
from tests.integration.git.repos import Repo
from tests.unit.node_agent.stage import identity, job_of

OWNERS = ("**/package-lock.json", "tools/*.sh")


class Recipe:
    """A repository, a folder of programs, and the key of what a set-up would make with them."""

    def __init__(self, folder: Path) -> None:
        self.repo, self.programs = Repo(folder / "repo"), folder / "bin"
        self.programs.mkdir()
        self.program("node", "v20")
        for name in ("web/package-lock.json", "tools/setup.sh", "src/mine.py"):
            self.repo.write(name, "1\n")
        self.repo.commit()

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        os.utime(self.programs / name, (0, 0))

    def key(self, on: str = "m", mode: str = "", copied: str = "", **changes: Any) -> str:
        at = Workspace(kind="git", repo="repo-1", base=self.repo.head, snapshot=self.repo.head)
        npm = {"setup": (("npm", "ci"),), "cache": ("node_modules",), "workspace": at, "env": ("MODE",)}
        env = {"PATH": f"{self.programs}:/no/folder", "MODE": mode, "HOME": str(identity("r-other"))}
        return key_of(
            job_of(**{**npm, **changes}), NodeGit(self.repo.path / ".git"), env, on, {".env": copied}
        )


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(tmp_path)


def test_the_same_recipe_has_the_same_key(recipe: Recipe) -> None:
    first = recipe.key()
    recipe.repo.commit("nothing")
    assert recipe.key(identity=identity("r-other"), task="else") == first
    folders = recipe.key(cache=("a", "b"))
    assert folders == recipe.key(cache=("b", "a")) != first


def test_every_difference_is_another_key(recipe: Recipe) -> None:
    other = Workspace(kind="git", repo="repo-2", base=recipe.repo.head, snapshot=recipe.repo.head)
    keys = [
        recipe.key(),
        recipe.key(on="n"),
        recipe.key(setup=(("npm", "ci", "-q"),)),
        recipe.key(setup=(("npm",), ("ci",))),
        recipe.key(cache=("node_modules", "dist")),
        recipe.key(workspace=other),
        recipe.key(mode="test"),
        recipe.key(cache_key=OWNERS),
        recipe.key(copied="digest"),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["web/package-lock.json", "requirements/base.txt", ".nvmrc", "src/mine.py"])
def test_every_file_counts(recipe: Recipe, name: str) -> None:
    before = recipe.key()
    recipe.repo.write(name, "2\n")
    recipe.repo.commit()
    assert recipe.key() != before


def test_the_owner_names_the_files_that_count(recipe: Recipe) -> None:
    before = recipe.key(cache_key=OWNERS)
    recipe.repo.write("src/mine.py", "2\n")
    recipe.repo.commit()
    assert recipe.key(cache_key=OWNERS) == before
    seen = {before}
    for name in ("web/package-lock.json", "tools/setup.sh", "tools/more.sh", "a/b/package-lock.json"):
        recipe.repo.write(name, "2\n")
        recipe.repo.commit()
        seen.add(recipe.key(cache_key=OWNERS))
    assert len(seen) == 5


def test_a_key_that_names_nothing_or_a_link(recipe: Recipe) -> None:
    (recipe.repo.path / "web" / "yarn.lock").symlink_to("package-lock.json")
    recipe.repo.commit()
    for pattern, why in (
        ("uv.lock", "no file of the repository matches uv"),
        ("web/y*", "web/y. is a symbolic link"),
    ):
        with pytest.raises(NotCached, match=why):
            recipe.key(cache_key=(pattern,))


def test_another_program_on_the_path_or_by_its_own_name(recipe: Recipe, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("1")
    asks: dict[str, Any] = {"setup": (("sh", "-c", f"'{own}' ci && npm ci"),), "cache_key": OWNERS}
    keys = {recipe.key(**asks)}
    assert keys == {recipe.key(**asks)}
    recipe.program("node", "v22")  # as long and as old as the one before
    keys.add(recipe.key(**asks))
    recipe.program("pnpm", "9")
    keys.add(recipe.key(**asks))
    own.write_text("2")
    keys.add(recipe.key(**asks))
    assert len(keys) == 4


def test_the_machine_is_named() -> None:
    assert "python 3." in machine_facts() and machine_facts() == machine_facts()
