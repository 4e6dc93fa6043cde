"""Secrets that an agent wrote into its result, in any spelling; not those that were there before."""

from __future__ import annotations

import base64
import tracemalloc
from pathlib import Path

import pytest

from node_agent.workspace import result
from node_agent.workspace.git import NodeGit, WorkspaceFailure
from tests.integration.git.repos import Repo

KEY, OLD = "sk-live-0123456789abcdef", "hunter2-hunter2"
HIDDEN = {"API_KEY": KEY, "OLD_KEY": OLD, "SHORT": "abc"}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "r")
    made.write("old", f"{OLD}\n")
    made.write("a", "1\n")
    made.commit()
    return made


def _found(repo: Repo, tmp_path: Path) -> list[tuple[str, str]]:
    before = repo.head
    out = NodeGit(repo.path / ".git")
    return result.find_exposed(out, tmp_path, (before, repo.commit()), HIDDEN)


def test_each_file_with_the_name_and_never_the_value(repo: Repo, tmp_path: Path) -> None:
    repo.write("new/config.py", f"KEY = '{KEY}'\n")
    repo.write("coded", base64.b64encode(b"x" + KEY.encode()))
    repo.write("old", f"more\n{OLD}\n")
    repo.write("a", "abc\n")
    assert _found(repo, tmp_path) == [("API_KEY", "coded"), ("API_KEY", "new/config.py")]
    assert not (tmp_path / "exposed.batch").exists()


def test_a_copied_file_is_named_whatever_it_contains(repo: Repo, tmp_path: Path) -> None:
    before, out, copied = repo.head, NodeGit(repo.path / ".git"), frozenset({"site.p12", "gone"})
    repo.write("site.p12", "\x01")
    repo.commit()
    (repo.path / "site.p12").unlink()
    ends, found = (before, repo.commit()), [("file site.p12", "site.p12")]
    for hidden in (HIDDEN, {}):
        assert result.find_exposed(out, tmp_path, ends, hidden, True, copied) == found
        assert result.find_exposed(out, tmp_path, ends, hidden, False, copied) == []


def test_names_and_targets_of_links_are_searched_too(repo: Repo, tmp_path: Path) -> None:
    (repo.path / "link").symlink_to(KEY)
    repo.write(f"pw-{KEY}.txt", "x\n")
    repo.write(f"{KEY}/a", "x\n")
    found = [("API_KEY", "link"), ("API_KEY", f"pw-{KEY}.txt"), ("API_KEY", f"{KEY}/a")]
    assert sorted(_found(repo, tmp_path)) == sorted(found)
    repo.write(f"{KEY}/a", "y\n")
    assert _found(repo, tmp_path) == [], "this name was there before"
    (repo.path / KEY / "a").unlink()
    assert _found(repo, tmp_path) == [], "it is gone"


def test_authors_and_messages_of_commits_are_searched_too(repo: Repo, tmp_path: Path) -> None:
    before, out = repo.head, NodeGit(repo.path / ".git")
    for words in (("-m", f"uses {OLD}"), ("-m", "x", f"--author=a <{KEY}@example.org>"), ("-m", "x")):
        repo.git("commit", "--allow-empty", "-q", *words)
    last = repo.head
    made = repo.git("rev-list", f"{before}..{last}").split()
    found = result.find_exposed(out, tmp_path, (before, last), HIDDEN, on_the_way=True)
    assert found == [
        ("API_KEY", f"the author or message of commit {made[1][:12]}"),
        ("OLD_KEY", f"the author or message of commit {made[2][:12]}"),
    ]
    assert result.find_exposed(out, tmp_path, (before, last), HIDDEN) == [], "a change of files keeps neither"


def test_a_moved_secret_is_told_of_the_new_file(repo: Repo, tmp_path: Path) -> None:
    (repo.path / "old").rename(repo.path / "moved")
    assert _found(repo, tmp_path) == [("OLD_KEY", "moved")]


def test_a_secret_that_a_later_commit_took_out_is_told_of_the_way(repo: Repo, tmp_path: Path) -> None:
    before, out = repo.head, NodeGit(repo.path / ".git")
    repo.write("config.py", f"KEY = '{KEY}'\n")
    repo.commit()
    repo.write("config.py", "KEY = environ['KEY']\n")
    ends = (before, repo.commit())
    assert result.find_exposed(out, tmp_path, ends, HIDDEN) == []
    assert result.find_exposed(out, tmp_path, ends, HIDDEN, on_the_way=True) == [("API_KEY", "config.py")]


def test_too_much_is_said(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "MOST_BYTES", 10)
    repo.write("b", "x" * 11)
    with pytest.raises(WorkspaceFailure, match="more than 0 MiB"):
        _found(repo, tmp_path)


def test_one_file_at_a_time_is_in_memory(repo: Repo, tmp_path: Path) -> None:
    for number in range(20):
        repo.write(f"large{number}", f"{number}{'x' * 100_000}\n")
    repo.write("large3", f"{KEY}\n")
    tracemalloc.start()
    try:
        assert _found(repo, tmp_path) == [("API_KEY", "large3")]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000
