"""What must not travel is refused by name, with a fix; what cannot travel is at least said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.runner import GitRefusal
from pancode.git.snapshot import SnapshotOptions, take_snapshot
from tests.integration.git.repos import NOW_MS, Repo, cloned, simple, snap, sound, tree_of, unprivileged_git


def test_changed_file_under_an_encryption_filter_is_refused(repo: Repo, depot: Depot) -> None:
    repo.write(".gitattributes", "secret* filter=git-crypt\n")
    repo.write("secret.key", "cipher")
    repo.commit()
    repo.git("config", "filter.git-crypt.clean", "git-crypt clean")
    assert snap(repo, depot).warnings == ()
    repo.write("secret.key", "plain text")
    with pytest.raises(GitRefusal) as caught:
        snap(repo, depot, "r-bbbb")
    assert caught.value.paths == ("secret.key",)
    assert caught.value.fix


def test_filter_of_the_users_own_configuration_counts(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[filter "vault"]\n\tclean = vault\n')
    repo.write(".gitattributes", "*.k filter=vault\n")
    repo.write("a.k", "plain")
    options = SnapshotOptions(NOW_MS, environ={"PATH": os.environ["PATH"], "HOME": str(home)})
    with pytest.raises(GitRefusal, match="filter"):
        take_snapshot(repo.path, depot, "r-aaaa", options)


def test_huge_file_is_refused_by_name(repo: Repo, depot: Depot) -> None:
    repo.write("big", b"\0" * 3000)
    options = SnapshotOptions(NOW_MS, ListingLimits(file=2000), {})
    with pytest.raises(GitRefusal) as caught:
        take_snapshot(repo.path, depot, "r-aaaa", options)
    assert caught.value.paths == ("big",)
    options = SnapshotOptions(NOW_MS, ListingLimits(untracked=2000), {})
    with pytest.raises(GitRefusal, match="in total"):
        take_snapshot(repo.path, depot, "r-aaaa", options)


def test_partial_clone_refuses_and_names_the_remedy(repo: Repo, tmp_path: Path, depot: Depot) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.write("f1", "second version\n")
    repo.commit()
    partial = cloned(repo, tmp_path / "partial", "--filter=blob:none")
    with pytest.raises(GitRefusal, match="partial clone") as caught:
        snap(partial, depot)
    assert "git fetch --refetch --no-filter" in caught.value.fix
    partial.git("fetch", "-q", "--refetch", "--no-filter")
    sound(depot, snap(partial, depot))


@pytest.mark.parametrize("shape", ["none", "bare", "elsewhere", "missing"])
def test_what_is_no_working_tree_is_refused(shape: str, tmp_path: Path, depot: Depot) -> None:
    place = tmp_path / shape
    if shape == "bare":
        cloned(simple(tmp_path / "s", 1), place, "--bare")
    elif shape == "elsewhere":
        (tmp_path / "private").mkdir()
        (tmp_path / "private" / "id_ed25519").write_text("key")
        Repo(place).git("config", "core.worktree", str(tmp_path / "private"))
    elif shape == "none":
        place.mkdir()
    with pytest.raises(GitRefusal) as caught:
        snap(Repo(place, init=False), depot)
    assert caught.value.fix
    assert not depot.root.exists()


def test_a_file_that_cannot_be_read_is_refused_by_name(
    repo: Repo, depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unprivileged_git(tmp_path / "bin", monkeypatch)
    repo.write("shut", "s").chmod(0)
    with pytest.raises(GitRefusal, match="cannot read") as caught:
        snap(repo, depot)
    assert "shut" in caught.value.why


def test_a_folder_that_cannot_be_read_is_said(
    repo: Repo, depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unprivileged_git(tmp_path / "bin", monkeypatch)
    folder = repo.write("shut/inner", "s").parent
    folder.chmod(0)
    taken = snap(repo, depot)
    folder.chmod(0o700)
    assert "shut/inner" not in tree_of(depot, taken)
    assert any("shut/" in text and "do not travel" in text for text in taken.warnings)


def test_an_untracked_file_that_may_not_be_read_stays_and_stops_nothing(
    repo: Repo, depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unprivileged_git(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr("pancode.git.file_list.os.access", lambda path, how: not path.endswith(b"closed.txt"))
    repo.write("closed.txt", "s")
    (repo.path / "closed.txt").chmod(0)
    repo.write("new.txt", "n")
    taken = snap(repo, depot)
    assert any("closed.txt" in words and "permission" in words for words in taken.warnings)
    assert "new.txt" in tree_of(depot, taken) and "closed.txt" not in tree_of(depot, taken)
