"""The result commit holds the files as they lie, whatever the agent did to its repository."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.attempt.ports import CommitStamp
from node_agent.workspace import result
from node_agent.workspace.result import ResultCommit
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from pancode.git.snapshot import Snapshot
from tests.integration.git.repos import (
    NOW_MS,
    PathTransport,
    Repo,
    attempt,
    simple,
    snap,
    tree_of,
    unprivileged_git,
    workspace_of,
)

STAMP = CommitStamp("Do it\n\nrun r-aaaa", NOW_MS)
Act = Callable[[Repo], None]


class Bench:
    """One attempt on a small project: let an agent act, then look at what is delivered."""

    def __init__(self, tmp_path: Path, depot: Depot) -> None:
        repo = simple(tmp_path / "project")
        repo.write(".gitignore", "ig\n")
        repo.commit()
        self.depot = depot
        self.taken: Snapshot = snap(repo, depot)
        self.spaces = Workspaces(tmp_path / "node", PathTransport(depot, self.taken.repo_id))
        self.job = workspace_of(self.taken)
        self.agent = Repo(self.spaces.prepare(attempt(), self.job), init=False)

    def after(self, act: Act) -> ResultCommit:
        act(self.agent)
        return self.commit()

    def commit(self) -> ResultCommit:
        return self.spaces.commit(attempt(), self.job, STAMP)

    def delivered(self, made: ResultCommit) -> dict[str, bytes]:
        """Push, verify, and give the names and contents of the files in the delivered commit."""
        assert made.commit is not None
        self.spaces.push(attempt(), self.job, made.commit)
        check = self.depot.verify_result(self.taken.repo_id, attempt(), made.commit)
        assert check
        files = tree_of(self.depot, self.taken, made.commit)
        return {name: data for name, (_, data) in files.items()}


@pytest.fixture
def bench(tmp_path: Path, depot: Depot) -> Bench:
    return Bench(tmp_path, depot)


def _edit_and_commit(agent: Repo) -> None:
    agent.write("f1", "changed\n")
    agent.commit("one")


def test_nothing_done_is_empty(bench: Bench) -> None:
    made = bench.commit()
    assert made == ResultCommit("empty", None)


def test_only_ignored_files_is_empty_and_says_so(bench: Bench) -> None:
    made = bench.after(lambda agent: (agent.write("ig", "build"), None)[1])
    assert (made.kind, made.commit, made.ignored) == ("empty", None, ("ig",))
    assert made.warnings == ("ig: ignored by git, not in the result",)


def test_commits_and_leftovers(bench: Bench) -> None:
    binary = os.urandom(3000)

    def act(agent: Repo) -> None:
        _edit_and_commit(agent)
        agent.write("new", "left\n")
        agent.write("bin", binary)

    made = bench.after(act)
    files = bench.delivered(made)
    assert made.kind == "change"
    assert made.files_changed == ("bin", "f1", "new")
    assert (files["f1"], files["new"], files["bin"]) == (b"changed\n", b"left\n", binary)
    git = bench.depot.git(bench.taken.repo_id)
    assert git.text("log", "--format=%s|%an", "-2", str(made.commit)) == "Do it|PanCode\none|tester@localhost"


def test_everything_committed_is_the_agents_own_head(bench: Bench) -> None:
    made = bench.after(_edit_and_commit)
    assert made.commit == bench.agent.head
    assert bench.delivered(made)["f1"] == b"changed\n"


def test_committed_and_reverted_is_no_change(bench: Bench) -> None:
    def act(agent: Repo) -> None:
        _edit_and_commit(agent)
        agent.git("revert", "--no-edit", "HEAD")

    made = bench.after(act)
    assert (made.kind, made.files_changed) == ("no_change", ())
    assert made.commit == bench.agent.head


def test_mode_only(bench: Bench) -> None:
    made = bench.after(lambda agent: (agent.path / "f2").chmod(0o755))
    assert made.files_changed == ("f2",)
    bench.delivered(made)
    assert tree_of(bench.depot, bench.taken, made.commit)["f2"] == ("100755", b"2\n")


def _amend(agent: Repo) -> None:
    agent.write("f1", "amended\n")
    agent.git("add", "f1")
    agent.git("commit", "-q", "--amend", "--no-edit")


def _orphan(agent: Repo) -> None:
    agent.git("checkout", "-q", "--orphan", "zzz")
    agent.write("f1", "orphan\n")
    agent.commit("orphan")
    agent.write("left", "l\n")


@pytest.mark.parametrize("act", [_amend, _orphan])
def test_rewritten_history_keeps_the_snapshot_as_its_ancestor(act: Act, bench: Bench) -> None:
    made = bench.after(act)
    files = bench.delivered(made)
    assert files["f1"] in (b"amended\n", b"orphan\n")
    assert any("rewrote the history" in text for text in made.warnings)
    git = bench.depot.git(bench.taken.repo_id)
    assert git.text("rev-parse", f"{made.commit}^1") == bench.taken.snapshot_commit
    assert git.text("rev-parse", f"{made.commit}^2") == bench.agent.head


def _no_git_file(agent: Repo) -> None:
    (agent.path / ".git").unlink()


def _no_git_at_all(agent: Repo) -> None:
    _edit_and_commit(agent)
    (agent.path / ".git").unlink()
    shutil.rmtree(agent.path.parent / "git")


def _own_init(agent: Repo) -> None:
    (agent.path / ".git").unlink()
    agent.git("init", "-q")
    agent.write("f1", "changed\n")
    agent.commit("mine")


def _no_objects(agent: Repo) -> None:
    _edit_and_commit(agent)
    for folder in (agent.path.parent / "git" / "objects").glob("??"):
        shutil.rmtree(folder)


def _garbage_head(agent: Repo) -> None:
    (agent.path.parent / "git" / "HEAD").write_text("ref: refs/heads/../../../../etc/passwd\n")


def _git_is_a_link(agent: Repo) -> None:
    folder = agent.path.parent / "git"
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


BREAKS = [_no_git_file, _no_git_at_all, _own_init, _no_objects, _garbage_head, _git_is_a_link]


@pytest.mark.parametrize("act", BREAKS)
def test_a_broken_repository_loses_no_file(act: Act, bench: Bench) -> None:
    bench.agent.write("kept", "k\n")
    made = bench.after(act)
    assert made.kind == "change"
    assert bench.delivered(made)["kept"] == b"k\n"


@pytest.mark.parametrize("act", [_no_git_at_all, _no_objects, _garbage_head, _git_is_a_link])
def test_lost_history_is_said(act: Act, bench: Bench) -> None:
    assert bench.after(act).warnings


def test_all_files_deleted_is_a_change(bench: Bench) -> None:
    def act(agent: Repo) -> None:
        for name in ("f1", "f2", "f3", ".gitignore"):
            (agent.path / name).unlink()

    made = bench.after(act)
    assert bench.delivered(made) == {}
    assert len(made.files_changed) == 4


@pytest.mark.parametrize("commits", [True, False])
def test_files_of_a_new_repository_inside_are_in_the_result_without_its_history(
    bench: Bench, commits: bool
) -> None:
    """As `git init`, `cargo init` and `create-next-app` leave them in a folder."""

    def act(agent: Repo) -> None:
        web = Repo(agent.path / "web")
        web.write(".gitignore", "out\n")
        web.write("src/index.js", "1\n")
        web.write("out", "built\n")
        inner = Repo(agent.path / "web/inner")
        inner.write("deep", "2\n")
        if commits:
            inner.commit()
            web.git("add", ".gitignore", "src")
            web.git("commit", "-qm", "init")

    made = bench.after(act)
    files = bench.delivered(made)
    assert made.kind == "change" and made.nested == ()
    assert {name for name in files if name.startswith("web")} == {
        "web/.gitignore",
        "web/src/index.js",
        "web/inner/deep",
    }
    assert any("its files are in the result, its history is not" in text for text in made.warnings)


def test_a_new_repository_that_the_agent_committed_as_a_link_is_in_the_result(bench: Bench) -> None:
    def act(agent: Repo) -> None:
        web = Repo(agent.path / "web")
        web.write("index.js", "1\n")
        web.commit()
        agent.git("add", "-A")
        agent.git("commit", "-qm", "all")
        assert "160000" in agent.git("ls-files", "-s", "web")

    made = bench.after(act)
    assert bench.delivered(made)["web/index.js"] == b"1\n" and made.nested == ()


def test_more_repositories_inside_than_are_opened_are_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_agent.workspace.result.MOST_NESTED", 1)
    for name in ("m", "n"):
        simple(bench.agent.path / name, 1)
    made = bench.commit()
    assert len(made.nested) == 1 and any("not in the result" in text for text in made.warnings)


def test_what_the_agent_hid_from_git_is_found(bench: Bench) -> None:
    def act(agent: Repo) -> None:
        agent.write("hid", "h\n")
        (agent.path.parent / "git" / "info").mkdir(exist_ok=True)
        (agent.path.parent / "git" / "info" / "exclude").write_text("hid\n")
        agent.write("f3", "z\n")
        agent.git("update-index", "--assume-unchanged", "f3")
        assert agent.git("status", "--porcelain") == ""

    made = bench.after(act)
    assert made.files_changed == ("f3", "hid")
    assert bench.delivered(made)["hid"] == b"h\n"


def test_replace_refs_deceive_nobody(bench: Bench) -> None:
    def act(agent: Repo) -> None:
        _edit_and_commit(agent)
        agent.git("replace", "HEAD", bench.taken.snapshot_commit)

    assert bench.delivered(bench.after(act))["f1"] == b"changed\n"


def test_an_edit_with_the_same_size_and_time_is_found(bench: Bench) -> None:
    path = bench.agent.path / "f1"
    before = path.stat()
    path.write_text("9\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bench.commit().files_changed == ("f1",)


def test_odd_names_come_back(bench: Bench) -> None:
    names = [b"new\nline", b"latin\xe9", b"-rf", b":(top)x", "🙂".encode(), b"a\tb"]
    for name in names:
        bench.agent.write(name, name)
    made = bench.commit()
    files = {os.fsencode(name): data for name, data in bench.delivered(made).items()}
    assert {name: files[name] for name in names} == {name: name for name in names}


def test_attributes_that_git_cannot_honour_do_not_lose_the_work(bench: Bench) -> None:
    bench.agent.write(".gitattributes", "* working-tree-encoding=UTF-16\n")
    bench.agent.write("new", b"not utf-16\n\xff")
    made = bench.commit()
    assert bench.delivered(made)["new"] == b"not utf-16\n\xff"
    assert any("attributes" in text for text in made.warnings)


@pytest.mark.parametrize("name", [".GIT/hooks/x", "git~1/x", "deep/.gIt/config"])
def test_a_name_that_git_never_takes_is_a_finding(bench: Bench, name: str) -> None:
    """Defect 28: such files were left out of the result without a word."""

    def act(agent: Repo) -> None:
        agent.write(name, "hidden")
        agent.write(".github/seen.yml", "kept")

    made = bench.after(act)
    assert made.files_changed == (".github/seen.yml",)
    assert f"{name}: not in the result, as git reserves the name" in made.warnings


def test_a_large_file_stays_out_and_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "MAX_FILE", 1000)
    bench.agent.write("big", b"\0" * 2000)
    bench.agent.write("small")
    made = bench.commit()
    assert made.files_changed == ("small",)
    assert any(text.startswith("big:") for text in made.warnings)


def test_the_same_files_give_the_same_commit(bench: Bench) -> None:
    bench.agent.write("new", "n\n")
    first = bench.commit()
    os.utime(bench.agent.path / "new", ns=(1, 1))
    assert bench.commit() == first


def test_what_the_gates_change_is_reported_and_never_committed(bench: Bench) -> None:
    bench.agent.write("new", "n\n")
    made = bench.commit()
    assert bench.spaces.changed_since(attempt(), made.commit or "") == ()
    tree = bench.spaces.tree(attempt())
    (tree / "f1").write_text("formatted\n")
    (tree / "cov").write_text("c")
    (tree / "f2").unlink()
    assert bench.spaces.changed_since(attempt(), made.commit or "") == ("cov", "f1", "f2")
    assert bench.delivered(made)["f1"] == b"1\n"


def test_unreadable_files_are_opened_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unprivileged_git(tmp_path / "bin", monkeypatch)
    bench.agent.write("shut", "t\n").chmod(0)
    path = bench.agent.write("closed/secret", "s\n")
    path.chmod(0)
    path.parent.chmod(0)
    made = bench.commit()
    files = bench.delivered(made)
    assert (files["closed/secret"], files["shut"]) == (b"s\n", b"t\n")
