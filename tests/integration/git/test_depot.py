"""The depot keeps what runs need, under concurrency and garbage collection, and judges what was delivered."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from node_agent.workspace.mirror import make_bare
from pancode.git.depot import Depot
from pancode.git.runner import GitRefusal
from pancode.kernel.host.disk_use import bytes_in
from pancode.runs.retention.rules import DAY_MS
from pancode.runs.retention.run_files import KeptFiles
from tests.integration.git.repos import (
    PathTransport,
    Repo,
    attempt,
    fingerprint,
    simple,
    snap,
    sound,
    tree_of,
)


def test_the_depot_survives_what_the_user_does_to_history(repo: Repo, depot: Depot) -> None:
    taken = snap(repo, depot)
    repo.git("checkout", "-q", "--orphan", "new")
    repo.git("branch", "-D", "main")
    repo.write("f1", "rewritten\n")
    repo.commit()
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    sound(depot, taken)
    assert tree_of(depot, taken)["f1"][1] == b"1\n"


def test_a_base_whose_run_is_forgotten_is_imported_again(repo: Repo, depot: Depot) -> None:
    taken = snap(repo, depot)
    depot.drop(taken.repo_id, ["r-aaaa"])
    for file in (depot.path(taken.repo_id) / "objects").rglob("*"):
        if file.is_file():
            file.unlink()
    sound(depot, snap(repo, depot, "r-bbbb"))


def test_no_file_is_shared_with_the_user(repo: Repo, depot: Depot) -> None:
    repo.git("gc", "-q")
    taken = snap(repo, depot)
    shutil.rmtree(repo.path / ".git")
    sound(depot, taken)
    assert not (depot.path(taken.repo_id) / "objects" / "info" / "alternates").exists()
    assert {path.stat().st_nlink for path in depot.path(taken.repo_id).rglob("*") if path.is_file()} == {1}


def test_four_first_snapshots_at_once(repo: Repo, depot: Depot) -> None:
    failed: list[Exception] = []
    before = fingerprint(repo.path)

    def work(name: str) -> None:
        try:
            snap(repo, depot, name)
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(f"r-aaa{letter}",)) for letter in "bcde"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert fingerprint(repo.path) == before
    sound(depot, snap(repo, depot))


def test_snapshots_while_garbage_is_collected(repo: Repo, depot: Depot) -> None:
    taken = snap(repo, depot)
    over = threading.Event()

    def collect() -> None:
        while not over.is_set():
            depot.collect(taken.repo_id)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for number in range(8):
            repo.write(f"n{number}", f"{number}\n")
            snap(repo, depot, f"r-run{number}")
    finally:
        over.set()
        thread.join()
    sound(depot, taken)
    assert len(depot.git(taken.repo_id).text("for-each-ref", "refs/pancode/snap").splitlines()) == 9


def test_drop_forgets_one_run_only_and_is_idempotent(repo: Repo, depot: Depot) -> None:
    taken = snap(repo, depot)
    snap(repo, depot, "r-aaaab")
    depot.git(taken.repo_id).must("update-ref", attempt().ref, taken.snapshot_commit)
    depot.drop(taken.repo_id, ["r-aaaa"])
    depot.drop(taken.repo_id, ["r-aaaa"])
    assert depot.runs(taken.repo_id) == {"r-aaaab"}
    left = depot.git(taken.repo_id).text("for-each-ref", "--format=%(refname)").splitlines()
    assert left == ["refs/pancode/base/r-aaaab", "refs/pancode/snap/r-aaaab"]


def test_room_of_forgotten_runs_comes_back_two_weeks_later(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    repo.write("large", os.urandom(1 << 20).hex())
    taken = snap(repo, depot)
    repo.write("large", "small now\n")
    snap(repo, depot, "r-aaaab")
    files, now_ms = KeptFiles(depot, tmp_path / "home", SystemClock()), SystemClock().wall_ms()
    assert files.commits() == {taken.repo_id: {"r-aaaa", "r-aaaab"}}
    before = bytes_in(depot.root)
    files.forget_commits(taken.repo_id, ["r-aaaa"])
    files.pack(taken.repo_id, now=True)
    assert depot.git(taken.repo_id).ask("cat-file", "-e", taken.snapshot_commit).ok, "it may be needed still"
    assert not depot.is_due(taken.repo_id, now_ms) and depot.is_due(taken.repo_id, now_ms + 8 * DAY_MS)
    for path in depot.path(taken.repo_id).rglob("*"):
        os.utime(path, times=(0, now_ms / 1000 - 15 * 86_400))
    files.pack(taken.repo_id, now=True)
    assert not depot.git(taken.repo_id).ask("cat-file", "-e", taken.snapshot_commit).ok
    assert before - bytes_in(depot.root) > 500_000
    depot.drop(taken.repo_id, ["r-aaaab"])
    depot.forget_unused(SystemClock().wall_ms() + 13 * DAY_MS)
    assert depot.repositories() == (taken.repo_id,)
    depot.forget_unused(SystemClock().wall_ms() + 15 * DAY_MS)
    assert depot.repositories() == ()


def test_the_worktrees_of_a_repository_have_one_depot(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    taken = snap(repo, depot)
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "only-here").write_text("x\n")
    beside = snap(Repo(tmp_path / "side", init=False), depot, "r-bbbb")
    assert beside.repo_id == taken.repo_id
    assert "only-here" in tree_of(depot, beside) and "only-here" not in tree_of(depot, taken)


def test_a_result_is_judged(repo: Repo, depot: Depot, tmp_path: Path) -> None:
    taken = snap(repo, depot)
    check = depot.verify_result(taken.repo_id, attempt(), taken.snapshot_commit)
    assert not check
    bare = tmp_path / "bare"
    make_bare(bare, "sha1")
    transport = PathTransport(depot, taken.repo_id)
    transport.fetch(attempt(), bare, "refs/pancode/snap/r-aaaa")
    transport.push(attempt(), bare, taken.snapshot_commit)
    assert depot.verify_result(taken.repo_id, attempt(), taken.snapshot_commit)
    stranger = attempt(number=2, lease=2)
    transport.push(stranger, bare, str(taken.base_commit))
    check = depot.verify_result(taken.repo_id, stranger, str(taken.base_commit))
    assert not check
    with pytest.raises(ValueError, match="object id"):
        depot.verify_result(taken.repo_id, attempt(), "HEAD; rm -rf /")


def test_a_result_with_a_missing_object_is_not_believed(repo: Repo, depot: Depot) -> None:
    taken = snap(repo, depot)
    git = depot.git(taken.repo_id)
    blob = git.must("hash-object", "-w", "--stdin", stdin=b"gone").text()
    tree = git.must("mktree", stdin=f"100644 blob {blob}\tf\n".encode()).text()
    commit = git.having(**_WHO).must("commit-tree", tree, "-p", taken.snapshot_commit, stdin=b"x").text()
    git.must("update-ref", attempt().ref, commit)
    assert depot.verify_result(taken.repo_id, attempt(), commit)
    (depot.path(taken.repo_id) / "objects" / blob[:2] / blob[2:]).unlink()
    check = depot.verify_result(taken.repo_id, attempt(), commit)
    assert not check


_WHO = {f"GIT_{role}_{key}": "x@y" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}


def test_two_projects_do_not_meet(tmp_path: Path, depot: Depot) -> None:
    one, two = snap(simple(tmp_path / "one"), depot), snap(simple(tmp_path / "two"), depot, "r-bbbb")
    assert one.repo_id != two.repo_id
    assert (
        depot.git(two.repo_id).ask("rev-parse", "-q", "--verify", "refs/pancode/snap/r-aaaa").text()
    ) == ""


@pytest.mark.parametrize("name", ["../x", "p-", "P-1234", "", "p-1234/../../x"])
def test_a_repository_id_is_not_a_path(name: str, depot: Depot) -> None:
    with pytest.raises(ValueError, match="repository id"):
        depot.path(name)


def test_an_unknown_repository_is_a_refusal(depot: Depot) -> None:
    with pytest.raises(GitRefusal) as caught:
        depot.git("p-123456")
    assert int(caught.value.exit_code) == 7


def test_a_depot_that_was_half_made_is_not_seen(depot: Depot) -> None:
    path = depot.ensure("p-123456")
    assert depot.ensure("p-123456") == path
    assert not list(depot.root.glob(".new-*"))
    subprocess.run(["git", "-C", str(path), "fsck"], check=True, capture_output=True)


def test_what_killed_processes_left_is_mended_at_the_start(repo: Repo, depot: Depot) -> None:
    taken = snap(repo, depot)
    path = depot.path(taken.repo_id)
    for name in ("packed-refs.lock", "refs/pancode/snap/r-aaaa.lock", "shallow.lock"):
        (path / name).touch()
    for folder in (depot.root / ".new-x", path / "pancode-index-x"):
        folder.mkdir()
        (folder / "file").touch()
    depot.repair()
    depot.drop(taken.repo_id, ["r-aaaa"])
    assert not [found for found in depot.root.rglob("*") if found.name.startswith((".new", "pancode-"))]
    assert (
        depot.git(taken.repo_id).ask("rev-parse", "-q", "--verify", "refs/pancode/snap/r-aaaa").text()
    ) == ""
