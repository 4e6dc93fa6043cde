"""Which commit this is: of a clone, of a changed one, of what was built, and of what nobody can tell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pancode.commit import UNKNOWN, commit_of


def git(root: Path, *words: str) -> str:
    argv = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "clone")
    root = tmp_path / "clone"
    (root / "pancode").mkdir()
    (root / "pancode/file").write_text("one")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


def test_a_clone_is_asked_each_time(clone: Path) -> None:
    none = clone / "pancode/commit.txt"
    head = git(clone, "rev-parse", "HEAD")[:12]
    assert commit_of(clone, none) == head
    (clone / "pancode/file").write_text("two")
    assert commit_of(clone, none) == f"{head}+dirty"
    git(clone, "checkout", "-q", "pancode/file")
    (clone / "new").write_text("not in git, and would be built in")
    assert commit_of(clone, none) == f"{head}+dirty"


def test_what_was_built_says_what_was_written(clone: Path, tmp_path: Path) -> None:
    written = tmp_path / "commit.txt"
    written.write_text("0123456789ab+dirty\n")
    assert commit_of(clone, written) == "0123456789ab+dirty"
    written.write_text("")
    assert commit_of(clone, written) == UNKNOWN


def test_a_repository_around_it_does_not_answer_for_it(clone: Path) -> None:
    assert commit_of(clone / "pancode", clone / "none") == UNKNOWN


def test_neither_a_foreign_git_dir_nor_none_misleads(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(clone, "rev-parse", "HEAD")[:12]
    git(tmp_path, "init", "-q", "empty")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "empty/.git"))
    assert commit_of(clone, clone / "none") == head
    monkeypatch.delenv("GIT_DIR")
    assert commit_of(tmp_path / "empty", clone / "none") == UNKNOWN, "a repository without a commit"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(clone, clone / "none") == UNKNOWN, "no git on this machine"
