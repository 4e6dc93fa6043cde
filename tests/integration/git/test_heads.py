"""Where the head of a branch is, by real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pancode.git.remotes import head_of
from pancode.kernel.errors import NotFoundError


def git(top: Path, *words: str) -> str:
    who = ("-c", "user.name=ana", "-c", "user.email=ana@example.org")
    done = subprocess.run(["git", *who, *words], cwd=top, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_head_of_a_folder_and_of_a_bare_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main", ".")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    git(tmp_path, "clone", "-q", "--bare", ".", "bare.git")
    assert head_of(str(tmp_path), "main") == git(tmp_path, "rev-parse", "HEAD")
    assert head_of(str(tmp_path / "bare.git"), "main") == git(tmp_path, "rev-parse", "HEAD")


@pytest.mark.parametrize("branch", ["nothing", "--help", "main..main", "a b"])
def test_a_branch_that_is_not_there_is_named(tmp_path: Path, branch: str) -> None:
    git(tmp_path, "init", "-q", "-b", "main", ".")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    with pytest.raises(NotFoundError) as missing:
        head_of(str(tmp_path), branch)
    assert branch in str(missing.value) and "git ls-remote" in missing.value.fix


def test_no_repository_and_no_server(tmp_path: Path) -> None:
    for repo in (str(tmp_path), str(tmp_path / "gone"), "https://127.0.0.1:1/none.git"):
        with pytest.raises(NotFoundError):
            head_of(repo, "main")
