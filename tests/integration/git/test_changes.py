"""What a result says became of each path, whatever the agent did to hide it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.policy.judging import FileChange, Touch
from tests.integration.git.repos import Repo
from tests.integration.git.test_result import Bench
from tests.integration.git.test_result import bench as bench

Act = Callable[[Repo], Any]
A, C, D, R, M = Touch.ADDED, Touch.CHANGED, Touch.DELETED, Touch.REPLACED, Touch.MODE


def _linked(name: str, target: str) -> Act:
    def act(repo: Repo) -> None:
        path = repo.path / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return act


def _renamed(repo: Repo) -> None:
    (repo.path / "f1").rename(repo.path / "moved.txt")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda r: r.write("new.txt", "x"), {FileChange("new.txt", A)}),
        (lambda r: r.write("f1", "other"), {FileChange("f1", C)}),
        (lambda r: (r.path / "f1").unlink(), {FileChange("f1", D)}),
        (lambda r: (r.path / "f1").chmod(0o755), {FileChange("f1", M)}),
        (_renamed, {FileChange("f1", D), FileChange("moved.txt", A)}),
        (_linked("f1", "/etc/passwd"), {FileChange("f1", R, "/etc/passwd")}),
        (_linked("l", "d/../.env"), {FileChange("l", A, ".env")}),
        (_linked("l", "../../out"), {FileChange("l", A, "../../out")}),
    ],
)
def test_files_left_behind(bench: Bench, act: Act, told: set[FileChange]) -> None:
    assert set(bench.after(act).changes) == told


def test_an_absolute_link_into_the_tree_is_told_from_its_top(bench: Bench) -> None:
    place = os.path.join(bench.agent.path, "sub", ".env")
    assert set(bench.after(_linked("l", place)).changes) == {FileChange("l", A, "sub/.env")}


def test_what_a_commit_did_and_the_next_one_took_back(bench: Bench) -> None:
    def act(repo: Repo) -> None:
        repo.write(".env", "KEY=1")
        repo.commit("in")
        (repo.path / ".env").unlink()
        repo.write("b.txt", "x")
        repo.commit("out")

    assert set(bench.after(act).changes) == {
        FileChange("b.txt", A),
        FileChange(".env", A, passing=True),
        FileChange(".env", D, passing=True),
    }


def test_a_history_of_its_own_and_a_merge_hide_nothing(bench: Bench) -> None:
    def act(repo: Repo) -> None:
        started = repo.git("rev-parse", "HEAD").strip()
        repo.git("checkout", "-q", "--orphan", "other")
        repo.write(".env", "KEY=1")
        repo.commit("root")
        (repo.path / ".env").unlink()
        repo.commit("gone")
        repo.git("merge", "-q", "--allow-unrelated-histories", "-X", "ours", "-m", "both", started)

    assert FileChange(".env", A, passing=True) in bench.after(act).changes


def test_a_thousand_links_and_one_that_is_too_long_for_a_link(bench: Bench) -> None:
    def act(repo: Repo) -> None:
        (repo.path / "l").mkdir()
        for number in range(1_000):
            (repo.path / "l" / str(number)).symlink_to(f"../.env{number % 7}")
        blob = repo.path / "blob"
        blob.write_text("x" * 5_000)
        oid = repo.git("hash-object", "-w", "blob").strip()
        blob.unlink()
        repo.git("update-index", "--add", "--cacheinfo", f"120000,{oid},huge")
        repo.git("commit", "-q", "-m", "huge")

    changes = bench.after(act).changes
    assert sum(one.leads_to == ".env3" for one in changes) == 143
    assert any(one.path == "huge" and one.leads_to == "." for one in changes)


def test_a_name_that_is_no_text(bench: Bench) -> None:
    def act(repo: Repo) -> None:
        Path(os.fsdecode(os.fsencode(repo.path) + b"/\xff.pem")).write_text("x")

    assert [one.path for one in bench.after(act).changes] == ["\\xff.pem"]
