"""What set-up writes is not the agent's: real git, any way of writing it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.attempt.ports import CommitStamp
from node_agent.workspace.git import WorkspaceFailure
from node_agent.workspace.result import ResultCommit
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.repos import (
    NOW_MS,
    PathTransport,
    Repo,
    attempt,
    simple,
    snap,
    tree_of,
    workspace_of,
)

STAMP = CommitStamp("Do it", NOW_MS)
Act = Callable[[Repo], object]


class Bench:
    """A checkout, its set-up, and then an agent."""

    def __init__(self, tmp_path: Path, depot: Depot) -> None:
        repo = simple(tmp_path / "project")
        repo.write(".gitignore", "ig/\n")
        repo.commit()
        self.depot, self.taken = depot, snap(repo, depot)
        self.node = tmp_path / "node"
        self.spaces = Workspaces(self.node, PathTransport(depot, self.taken.repo_id))
        self.job = workspace_of(self.taken)
        self.tree = Repo(self.spaces.prepare(attempt(), self.job), init=False)
        self.baseline = ""

    def set_up(self, act: Act) -> Bench:
        act(self.tree)
        self.baseline = self.spaces.baseline(attempt(), self.job)
        assert self.spaces.baseline(attempt(), self.job) == self.baseline
        return self

    def agent(self, act: Act) -> ResultCommit:
        act(self.tree)
        made = self.spaces.commit(attempt(), self.job, STAMP, self.baseline)
        assert self.spaces.commit(attempt(), self.job, STAMP, self.baseline) == made
        return made

    def files(self, made: ResultCommit) -> dict[str, bytes]:
        assert made.commit is not None
        self.spaces.push(attempt(), self.job, made.commit)
        check = self.depot.verify_result(self.taken.repo_id, attempt(), made.commit)
        assert check
        return {name: data for name, (_, data) in tree_of(self.depot, self.taken, made.commit).items()}


@pytest.fixture
def bench(tmp_path: Path, depot: Depot) -> Bench:
    return Bench(tmp_path, depot)


def _everything(tree: Repo) -> None:
    """New, changed, deleted, a folder for a file, a link, an odd name, ignored, a repository inside."""
    tree.write("venv.cfg", "home = /x\n")
    tree.write("f1", "patched by set-up\n")
    (tree.path / "f2").unlink()
    (tree.path / "f3").unlink()
    tree.write("f3/lock", "l\n")
    (tree.path / "bin").symlink_to("/usr/bin")
    tree.write(b"caf\xe9\n", "odd\n")
    tree.write("ig/cache", "c\n")
    Repo(tree.path / "vendor").commit()


def _nothing(tree: Repo) -> None:
    return


def test_set_up_alone_is_no_change(bench: Bench) -> None:
    made = bench.set_up(_everything).agent(_nothing)
    assert (made.kind, made.commit, made.files_changed) == ("empty", None, ())
    assert bench.spaces.changed_since(attempt(), bench.job.snapshot or "", bench.baseline) == ()


def test_the_result_has_the_agents_changes_and_no_others(bench: Bench) -> None:
    made = bench.set_up(_everything).agent(lambda tree: tree.write("mine", "m\n"))
    assert made.kind == "change" and made.files_changed == ("mine",)
    files = bench.files(made)
    assert (files["mine"], files["f1"], files["f2"], files["f3"]) == (b"m\n", b"1\n", b"2\n", b"3\n")
    assert set(files) == {".gitignore", "f1", "f2", "f3", "mine"}


def test_a_file_that_both_changed_is_the_agents(bench: Bench) -> None:
    def agent(tree: Repo) -> None:
        tree.write("f1", "by the agent\n")
        tree.write("venv.cfg", "home = /y\n")
        tree.write("f2", "made again\n")

    made = bench.set_up(_everything).agent(agent)
    assert made.files_changed == ("f1", "f2", "venv.cfg")
    assert bench.files(made)["f1"] == b"by the agent\n"


def test_an_agent_that_commits_everything_commits_its_own(bench: Bench) -> None:
    """Its commits stay; one of ours on top takes out what was set-up's."""

    def agent(tree: Repo) -> None:
        tree.write("mine", "m\n")
        tree.git("rm", "-rq", "--cached", "--ignore-unmatch", "vendor")
        tree.git("add", "-A", "--", "mine", "venv.cfg", "f1", "f2", "f3", "bin")
        tree.git("commit", "-q", "-m", "all of it")

    made = bench.set_up(_everything).agent(agent)
    assert made.files_changed == ("mine",) and made.kind == "change"
    assert bench.files(made)["f1"] == b"1\n"


def test_commits_of_set_up_are_not_the_agents(bench: Bench) -> None:
    """A read-only agent that made none must not be blamed for them."""

    def set_up(tree: Repo) -> None:
        tree.write("generated", "g\n")
        tree.commit("by set-up")

    made = bench.set_up(set_up).agent(_nothing)
    assert (made.kind, made.commit) == ("empty", None)
    made = bench.agent(lambda tree: tree.write("mine"))
    assert made.files_changed == ("mine",)


def test_what_the_agent_undid_of_set_up_is_no_change(bench: Bench) -> None:
    def undo(tree: Repo) -> None:
        tree.write("f1", "1\n")
        (tree.path / "venv.cfg").unlink()

    made = bench.set_up(_everything).agent(undo)
    assert (made.kind, made.files_changed) == ("empty", ())


def test_an_agents_file_in_a_folder_of_set_up(bench: Bench) -> None:
    """There is no tree with both the file f3 of the snapshot and the agent's f3/mine: it is said."""
    made = bench.set_up(_everything).agent(lambda tree: tree.write("f3/mine", "m\n"))
    assert made.files_changed == ("f3", "f3/mine")
    assert any(text.startswith("f3: changed by set-up") for text in made.warnings)


def test_gates_are_told_from_set_up(bench: Bench) -> None:
    made = bench.set_up(_everything).agent(lambda tree: tree.write("mine", "m\n"))
    bench.tree.write("venv.cfg", "by a gate\n")
    bench.tree.write("cov", "c")
    (bench.tree.path / "f1").unlink()
    changed = bench.spaces.changed_since(attempt(), made.commit or "", bench.baseline)
    assert changed == ("cov", "f1", "venv.cfg")


def test_a_baseline_that_was_tampered_with(bench: Bench) -> None:
    """The agent may share our uid: a forged record does not make its changes set-up's."""
    bench.set_up(_everything)
    (path,) = bench.node.glob("work/*/baseline.json")
    path.write_bytes(path.read_bytes().replace(b"venv.cfg", b"mine.txt"))
    bench.tree.write("mine.txt", "home = /x\n")
    with pytest.raises(WorkspaceFailure, match="files was modified"):
        bench.spaces.commit(attempt(), bench.job, STAMP, bench.baseline)
    (where,) = bench.spaces.salvage(attempt(), bench.job, STAMP, bench.baseline)
    assert "salvage" in where


def test_salvage_keeps_the_agents_alone(bench: Bench) -> None:
    bench.set_up(_everything)
    assert bench.spaces.salvage(attempt(), bench.job, STAMP, bench.baseline) == ()
    bench.tree.write("mine", "m\n")
    (where,) = bench.spaces.salvage(attempt(), bench.job, STAMP, bench.baseline)
    assert where.startswith("commit ")
