"""A snapshot takes the tree as it is and leaves the user's repository identical to the inode."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.runner import GitRefusal
from pancode.git.snapshot import SnapshotOptions, preview_snapshot, take_snapshot
from tests.integration.git.repos import NOW_MS, Repo, cloned, fingerprint, simple, snap, sound, tree_of

Files = dict[str, tuple[str, bytes]]


def _identical(repo: Repo, depot: Depot) -> tuple[Files, tuple[str, ...]]:
    """Snapshot twice: .git and the tree stay as they were, the depot is whole; gives files and warnings."""
    before = fingerprint(repo.common_dir), fingerprint(repo.path, without=".git")
    taken = snap(repo, depot)
    again = snap(repo, depot, "r-bbbb")
    assert (fingerprint(repo.common_dir), fingerprint(repo.path, without=".git")) == before
    sound(depot, taken)
    files = tree_of(depot, taken)
    assert tree_of(depot, again) == files
    assert (
        depot.git(taken.repo_id).ask("rev-parse", "-q", "--verify", "refs/pancode/base/r-aaaa").text()
    ) == taken.base_commit
    return files, taken.warnings


def test_uncommitted_untracked_and_modes_arrive(repo: Repo, depot: Depot) -> None:
    repo.write(".gitignore", ".env\n")
    repo.write(".env", "secret")
    repo.write("f1", "edited\n")
    (repo.path / "f2").unlink()
    (repo.path / "f3").chmod(0o755)
    repo.write("deep/er/new", "n")
    (repo.path / "dangling").symlink_to("nowhere")
    files, warnings = _identical(repo, depot)
    assert set(files) == {".gitignore", "f1", "f3", "deep/er/new", "dangling"}
    assert files["f1"] == ("100644", b"edited\n")
    assert files["f3"][0] == "100755"
    assert files["dangling"] == ("120000", b"nowhere")
    assert warnings == ()


def test_names_of_all_kinds_arrive_byte_for_byte(repo: Repo, depot: Depot) -> None:
    names = [
        b"new\nline",
        b"latin\xe9",
        b":(top)glob*",
        b"-rf",
        b" sp ",
        b'"q"',
        "🙂".encode(),
        b"a\\b",
        b"$(x)`y`",
    ]
    for name in names:
        repo.write(name, name)
    os.mkfifo(repo.path / "pipe")
    files, _ = _identical(repo, depot)
    got = {os.fsencode(name): data for name, (_, data) in files.items()}
    assert {name: got[name] for name in names} == {name: name for name in names}
    assert b"pipe" not in got


def test_unborn_branch(tmp_path: Path, depot: Depot) -> None:
    repo = Repo(tmp_path / "unborn")
    repo.write("a", "a")
    taken = snap(repo, depot)
    assert (taken.base_commit, taken.branch) == (None, "main")
    assert tree_of(depot, taken) == {"a": ("100644", b"a")}
    sound(depot, taken)


def test_empty_repository(tmp_path: Path, depot: Depot) -> None:
    taken = snap(Repo(tmp_path / "empty"), depot)
    assert tree_of(depot, taken) == {}


def _detached(repo: Repo, tmp_path: Path) -> Repo:
    repo.git("checkout", "-q", "--detach", "HEAD~1")
    return repo


def _shallow(repo: Repo, tmp_path: Path) -> Repo:
    return cloned(repo, tmp_path / "shallow", "--depth", "1")


def _linked_worktree(repo: Repo, tmp_path: Path) -> Repo:
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"))
    return Repo(tmp_path / "linked", init=False)


@pytest.mark.parametrize("shape", [_detached, _shallow, _linked_worktree])
def test_shapes_of_repositories(
    shape: Callable[[Repo, Path], Repo], repo: Repo, tmp_path: Path, depot: Depot
) -> None:
    other = shape(repo, tmp_path)
    other.write("new", "n")
    files, _ = _identical(other, depot)
    assert files["new"] == ("100644", b"n")
    assert files["f1"] == ("100644", b"1\n")


def test_sparse_checkout_keeps_what_is_not_here(repo: Repo, tmp_path: Path, depot: Depot) -> None:
    repo.write("in/i")
    repo.write("out/o", "kept\n")
    repo.commit()
    repo.git("sparse-checkout", "set", "in")
    repo.write("out/stray", "s")
    files, _ = _identical(repo, depot)
    assert files["out/o"][1] == b"kept\n"
    assert files["out/stray"][1] == b"s"


def test_conflicted_file_arrives_as_it_lies(repo: Repo, depot: Depot) -> None:
    repo.git("checkout", "-q", "-b", "x")
    repo.write("f1", "x\n")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("f1", "y\n")
    repo.commit()
    repo.git("merge", "-q", "x", check=False)
    files, warnings = _identical(repo, depot)
    assert b"<<<<<<<" in files["f1"][1]
    assert any("f1" in text and "conflict" in text for text in warnings)


def test_staged_content_gives_way_to_the_tree_and_misses_no_object(repo: Repo, depot: Depot) -> None:
    repo.write("s", "staged only")
    repo.write("t", "staged, kept")
    repo.write("u", "staged, then changed")
    repo.git("add", "s", "t", "u")
    (repo.path / "s").unlink()
    repo.write("u", "changed")
    repo.write("ita")
    repo.git("add", "-N", "ita")
    files, _ = _identical(repo, depot)
    assert "s" not in files
    assert files["t"][1] == b"staged, kept"
    assert files["u"][1] == b"changed"
    assert files["ita"][1] == b"x\n"


def test_file_and_folder_change_places(repo: Repo, depot: Depot) -> None:
    repo.write("d/x")
    repo.commit()
    (repo.path / "f1").unlink()
    repo.write("f1/inner", "i")
    (repo.path / "d" / "x").unlink()
    (repo.path / "d").rmdir()
    repo.write("d", "file now")
    files, _ = _identical(repo, depot)
    assert files["f1/inner"][1] == b"i"
    assert files["d"] == ("100644", b"file now")
    assert "d/x" not in files


def test_assume_unchanged_edits_stay_and_are_named(repo: Repo, depot: Depot) -> None:
    repo.git("update-index", "--assume-unchanged", "f1")
    repo.git("update-index", "--skip-worktree", "f2")
    repo.write("f1", "local")
    repo.write("f2", "local")
    files, warnings = _identical(repo, depot)
    assert (files["f1"][1], files["f2"][1]) == (b"1\n", b"2\n")
    assert any("f1, f2" in text for text in warnings)


def test_line_ends_are_stored_as_git_would(repo: Repo, depot: Depot) -> None:
    repo.write(".gitattributes", "*.txt text=auto eol=crlf\n")
    repo.write("w.txt", b"a\r\nb\r\n")
    repo.write("bin", b"m\r\nx\n")
    files, _ = _identical(repo, depot)
    assert files["w.txt"][1] == b"a\nb\n"
    assert files["bin"][1] == b"m\r\nx\n"


def test_lfs_pointer_stays_and_changed_file_is_named(repo: Repo, depot: Depot) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"1" * 64 + b"\nsize 9\n"
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("p.bin", pointer)
    repo.commit()
    repo.write("m.bin", b"realbytes")
    repo.git("config", "filter.lfs.clean", "git-lfs clean -- %f")
    repo.git("config", "filter.lfs.required", "true")
    files, warnings = _identical(repo, depot)
    assert files["p.bin"][1] == pointer
    assert files["m.bin"][1] == b"realbytes"
    assert any("m.bin" in text and "LFS" in text for text in warnings)


def test_the_users_global_ignore_file_counts(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("*.swp\n")
    repo.write("x.swp")
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    taken = take_snapshot(repo.path, depot, "r-aaaa", SnapshotOptions(NOW_MS, environ=environ))
    assert "x.swp" not in tree_of(depot, taken)
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    (home / "mine").write_text("*.mine\n")
    repo.write("y.mine")
    taken = take_snapshot(repo.path, depot, "r-aaaa", SnapshotOptions(NOW_MS, environ=environ))
    assert "y.mine" not in tree_of(depot, taken)
    assert "x.swp" in tree_of(depot, taken)


def test_submodule_and_nested_repositories(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    other = simple(tmp_path / "other", 1)
    repo.git("submodule", "add", "-q", str(other.path), "sub")
    repo.commit()
    repo.write("sub/f1", "dirt inside")
    Repo(repo.path / "nested").write("n")
    Repo(repo.path / "unborn")
    files, warnings = _identical(repo, depot)
    assert files["sub"] == ("160000", b"")
    assert not any(name.startswith(("sub/", "nested", "unborn")) for name in files)
    assert any("sub" in text and "submodule" in text and "git clone URL PATH" in text for text in warnings)
    assert any("nested/" in text for text in warnings)


def test_sha256_repository(tmp_path: Path, depot: Depot) -> None:
    repo = Repo(tmp_path / "s256", object_format="sha256")
    repo.write("a", "1")
    repo.commit()
    repo.write("b", "2")
    taken = snap(repo, depot)
    assert len(taken.snapshot_commit) == 64
    assert set(tree_of(depot, taken)) == {"a", "b"}
    sound(depot, taken)


def test_shallow_history_is_marked_in_the_depot(repo: Repo, tmp_path: Path, depot: Depot) -> None:
    shallow = cloned(repo, tmp_path / "shallow", "--depth", "1")
    taken = snap(shallow, depot)
    assert taken.shallow
    assert (depot.path(taken.repo_id) / "shallow").read_text().split() == [shallow.head]
    sound(depot, taken)


def test_inside_a_subfolder_the_whole_tree_is_taken(repo: Repo, depot: Depot) -> None:
    inner = repo.write("sub/inner").parent
    taken = snap(Repo(inner, init=False), depot)
    assert taken.repo_id == snap(repo, depot).repo_id
    assert set(tree_of(depot, taken)) == {"f1", "f2", "f3", "sub/inner"}


ODD = """-a b/it's "odd"\n:(top)…"""


@pytest.mark.parametrize("folder", ["sub", ODD])
def test_a_folder_to_begin_in(repo: Repo, depot: Depot, folder: str) -> None:
    repo.write(f"{folder}/inner")
    options = SnapshotOptions(NOW_MS, environ={}, folder=folder)
    preview_snapshot(repo.path, options)
    assert take_snapshot(repo.path, depot, "r-abc123", options).snapshot_commit


@pytest.mark.parametrize("folder", ["empty", "ignored", "link", "link/inner", "f1", "gone", "sub/f", ".git"])
def test_a_folder_to_begin_in_that_does_not_travel(repo: Repo, depot: Depot, folder: str) -> None:
    repo.write("sub/f")
    repo.write("gone/f")
    repo.commit()
    (repo.path / "gone/f").unlink()
    (repo.path / "empty").mkdir()
    (repo.path / "link").symlink_to("sub")
    repo.write(".gitignore", "ignored")
    repo.write("ignored/f")
    options = SnapshotOptions(NOW_MS, environ={}, folder=folder)
    for look in (
        lambda: preview_snapshot(repo.path, options),
        lambda: take_snapshot(repo.path, depot, "r-abc123", options),
    ):
        with pytest.raises(GitRefusal) as told:
            look()
        assert folder in str(told.value) and f"cd {repo.path}, then" in told.value.fix
        assert ("add a file to it" in told.value.fix) is (folder != ".git")


def test_preview_writes_nothing(repo: Repo, depot: Depot) -> None:
    repo.write("f1", "edit")
    repo.write("new")
    before = fingerprint(repo.path)
    seen = preview_snapshot(repo.path, SnapshotOptions(NOW_MS, environ={}))
    assert (seen.changed, seen.untracked) == (("f1",), ("new",))
    repo.write("staged")
    repo.git("add", "staged")
    before = fingerprint(repo.path)
    seen = preview_snapshot(repo.path, SnapshotOptions(NOW_MS, environ={}))
    assert (seen.changed, seen.untracked) == (("f1", "staged"), ("new",))
    assert fingerprint(repo.path) == before
    assert not depot.root.exists()


def test_second_base_is_packed_as_a_difference(repo: Repo, depot: Depot) -> None:
    repo.write("big", os.urandom(400_000))
    repo.commit()
    taken = snap(repo, depot)
    packs = depot.path(taken.repo_id) / "objects" / "pack"
    first = {path.name for path in packs.glob("*.pack")}
    repo.write("f1", "next\n")
    repo.commit()
    snap(repo, depot, "r-bbbb")
    added = [path for path in packs.glob("*.pack") if path.name not in first]
    assert len(added) == 1
    assert added[0].stat().st_size < 5_000


def test_five_thousand_files_are_taken_by_their_stat_data(tmp_path: Path, depot: Depot) -> None:
    repo = Repo(tmp_path / "many")
    for folder in range(50):
        (repo.path / f"d{folder}").mkdir()
    for number in range(5_000):
        (repo.path / f"d{number % 50}" / f"f{number}").write_text(f"{number}\n")
    repo.commit()
    repo.write("d1/f1", "edited\n")
    files, _ = _identical(repo, depot)
    assert len(files) == 5_000
    assert files["d1/f1"][1] == b"edited\n"


def test_a_folder_that_became_a_link_arrives_as_a_link(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    repo.write("d/inner", "i\n")
    repo.write("hidden/h", "h\n")
    repo.commit()
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("inner", "h"):
        (secret / name).write_text("private")
    for folder, inner in (("d", "inner"), ("hidden", "h")):
        (repo.path / folder / inner).unlink()
        (repo.path / folder).rmdir()
        (repo.path / folder).symlink_to(secret)
    repo.write(".gitignore", "/hidden\n")
    files, _ = _identical(repo, depot)
    assert files["d"] == ("120000", str(secret).encode())
    assert set(files) == {".gitignore", "d", "f1", "f2", "f3"}


def test_odd_places(tmp_path: Path) -> None:
    place = tmp_path / "a \"b\":c $(d) 'e' \n🙂 -f"
    repo = simple(place / "project")
    repo.git("repack", "-adq")
    repo.write("new", "n")
    depot = Depot(place / "depots")
    files, _ = _identical(repo, depot)
    assert files["new"][1] == b"n"


def test_a_split_index_is_read(repo: Repo, depot: Depot) -> None:
    repo.git("update-index", "--split-index")
    repo.write("f1", "edited\n")
    before = fingerprint(repo.common_dir, times=False)
    files = tree_of(depot, snap(repo, depot))
    # The one exception: git itself renews the time of the shared half.
    assert fingerprint(repo.common_dir, times=False) == before
    assert files["f1"][1] == b"edited\n"
    assert len(files) == 3


def test_history_that_was_cut_and_then_completed(repo: Repo, tmp_path: Path, depot: Depot) -> None:
    shallow = cloned(repo, tmp_path / "shallow", "--depth", "1")
    first = snap(shallow, depot)
    shallow.git("fetch", "-q", "--unshallow")
    shallow.git("checkout", "-q", "--detach", "HEAD~2")
    shallow.commit("on an old commit")
    # The same depot, whatever the root commit says now.
    depot.path(first.repo_id).rename(depot.path(snap(shallow, Depot(tmp_path / "other")).repo_id))
    second = snap(shallow, depot, "r-bbbb")
    sound(depot, second)
    assert depot.git(second.repo_id).text("rev-list", "--count", str(second.base_commit)) == "2"


def test_untracked_files_that_usually_hold_secrets_are_held_back_and_named(repo: Repo, depot: Depot) -> None:
    repo.write("tracked.pem", "public\n")
    repo.commit()
    for name in (".env", "sub/id_rsa", "tracked.pem", "plain.txt"):
        repo.write(name, "changed\n")
    taken = snap(repo, depot)
    files = tree_of(depot, taken, taken.snapshot_commit)
    assert {"tracked.pem", "plain.txt"} <= set(files) and not {".env", "sub/id_rsa"} & set(files)
    assert taken.untracked == ("plain.txt",)
    (warning,) = taken.warnings
    assert warning.startswith(".env, sub/id_rsa: untracked, not sent") and "pancode dispatch -h" in warning
    options = SnapshotOptions(NOW_MS, ListingLimits(allowed=("*",)), {})
    taken = take_snapshot(repo.path, depot, "r-bbbb", options)
    assert {".env", "sub/id_rsa"} <= set(tree_of(depot, taken, taken.snapshot_commit))
    assert "sent as you allowed" in taken.warnings[0]
