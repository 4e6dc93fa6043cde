"""A repository of another user is opened only if the user's own git settings trust it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pancode.git.repository import open_project
from pancode.git.runner import GitRefusal
from tests.integration.git.repos import Repo, simple


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository that git takes for another user's, without a second user on this machine."""
    made = simple(tmp_path / "project", 1)
    (tmp_path / "bin").mkdir()
    git = tmp_path / "bin/git"
    git.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    return made


def environ(home: Path, config: str) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text(config)
    return {"HOME": str(home), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.mark.parametrize("value", ["{top}", "*", "~/project"])
def test_trusted_by_the_users_settings(foreign: Repo, value: str) -> None:
    around = environ(foreign.path.parent, f"[safe]\n\tdirectory = {value.format(top=foreign.path)}\n")
    assert open_project(foreign.path, around).top == foreign.path
    (foreign.path / "folder").mkdir()
    seen = open_project(foreign.path / "folder", around)
    assert seen.head and f"{seen.head}\n" == (foreign.path / ".git/refs/heads/main").read_text()


def test_trusted_by_an_included_file(foreign: Repo, tmp_path: Path) -> None:
    (tmp_path / "more").write_text(f"[safe]\n\tdirectory = {foreign.path}\n")
    around = environ(tmp_path / "home", f"[include]\n\tpath = {tmp_path / 'more'}\n")
    assert open_project(foreign.path, around).top == foreign.path


@pytest.mark.parametrize(
    "config", ["", "[safe]\n\tdirectory = *\n\tdirectory =\n", "[safe]\n\tdirectory = /x\n"]
)
def test_not_trusted(foreign: Repo, tmp_path: Path, config: str) -> None:
    with (foreign.path / ".git/config").open("a") as own:  # the repository cannot trust itself
        own.write("[safe]\n\tdirectory = *\n")
    with pytest.raises(GitRefusal) as refused:
        open_project(foreign.path, environ(tmp_path / "home", config))
    assert "belongs to another user" in str(refused.value)
    assert refused.value.fix.endswith(f"git config --global --add safe.directory {foreign.path}")
