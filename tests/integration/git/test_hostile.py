"""A hostile repository, or a hostile agent in its checkout, gets none of its programs run by us."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.attempt.ports import CommitStamp
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from pancode.git.runner import GitRefusal
from tests.integration.git.repos import (
    NOW_MS,
    PathTransport,
    Repo,
    attempt,
    fingerprint,
    simple,
    snap,
    sound,
    tree_of,
    workspace_of,
)
from tests.integration.git.traps import Traps, hostile

STAMP = CommitStamp("result", NOW_MS)


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    return Traps(tmp_path / "traps")


def test_the_traps_are_live(tmp_path: Path, traps: Traps) -> None:
    repo = hostile(tmp_path / "hostile", traps)
    repo.git("config", "--unset-all", "extensions.partialClone")
    repo.write("c.dat", "c\n")
    repo.git("status", check=False)
    repo.git("diff", check=False)
    repo.git("add", "-A", ":!nested-unborn", check=False)
    assert len(traps.sprung()) >= 4


def test_a_snapshot_of_a_hostile_repository_runs_nothing(tmp_path: Path, traps: Traps, depot: Depot) -> None:
    repo = hostile(tmp_path / "hostile", traps)
    before = fingerprint(repo.path)
    taken = snap(repo, depot)
    assert traps.sprung() == []
    assert fingerprint(repo.path) == before
    files = tree_of(depot, taken)
    assert files["link"] == ("120000", b"/etc/passwd")
    assert files["f1"][1] == b"changed\n"
    assert files["new"][1] == b"new\n"
    sound(depot, taken)


def test_a_refused_hostile_repository_runs_nothing_either(tmp_path: Path, traps: Traps, depot: Depot) -> None:
    repo = hostile(tmp_path / "hostile", traps)
    repo.write("b.dat", "edited under a filter\n")
    repo.write("q.proc", "p\n")
    with pytest.raises(GitRefusal) as caught:
        snap(repo, depot)
    assert caught.value.paths == ("b.dat", "q.proc")
    assert traps.sprung() == []


def test_a_hostile_agent_runs_nothing_of_ours_and_hides_nothing(
    tmp_path: Path, traps: Traps, depot: Depot
) -> None:
    repo = simple(tmp_path / "project")
    repo.write(".gitattributes", "*.dat filter=evil\n")
    repo.commit()
    taken = snap(repo, depot)
    spaces = Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id))
    tree = spaces.prepare(attempt(), workspace_of(taken))
    agent = Repo(tree, init=False)
    traps.arm(spaces.git_dir(attempt()), agent)
    agent.git("config", "core.worktree", "/")
    (spaces.git_dir(attempt()) / "info").mkdir(exist_ok=True)
    (spaces.git_dir(attempt()) / "info" / "exclude").write_text("*\n")
    (tree / "hidden.dat").write_text("h")
    (tree / "f1").write_text("changed\n")
    made = spaces.commit(attempt(), workspace_of(taken), STAMP)
    assert made.kind == "change"
    assert made.files_changed == ("f1", "hidden.dat")
    assert made.commit is not None
    spaces.push(attempt(), workspace_of(taken), made.commit)
    assert traps.sprung() == []


def test_an_agent_that_poisons_the_mirror_and_out_runs_nothing(
    tmp_path: Path, traps: Traps, depot: Depot
) -> None:
    taken = snap(simple(tmp_path / "project"), depot)
    spaces = Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id))
    tree = spaces.prepare(attempt(), workspace_of(taken))
    mirror = tmp_path / "node" / "mirrors" / taken.repo_id
    out = tree.parent / "out.git"
    out.mkdir()
    shutil.copytree(mirror, out, dirs_exist_ok=True)
    for place in (mirror, out):
        traps.arm(place, Repo(place, init=False))
    (tree / "f1").write_text("changed\n")
    traps.reset()
    made = spaces.commit(attempt(), workspace_of(taken), STAMP)
    spaces.push(attempt(), workspace_of(taken), made.commit or "")
    spaces.prepare(attempt(number=2, lease=2), workspace_of(taken))
    assert traps.sprung() == []


def test_a_link_in_place_of_the_tree_is_not_followed(tmp_path: Path, depot: Depot) -> None:
    taken = snap(simple(tmp_path / "project"), depot)
    spaces = Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id))
    tree = spaces.prepare(attempt(), workspace_of(taken))
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("k")
    tree.rename(tree.with_name("moved"))
    tree.symlink_to(secret)
    with pytest.raises(Exception, match="no longer exists, or is not a folder"):
        spaces.commit(attempt(), workspace_of(taken), STAMP)
    spaces.remove(attempt(), workspace_of(taken))
    assert (secret / "key").read_text() == "k"


def test_a_folder_turned_into_a_link_is_committed_as_a_link(tmp_path: Path, depot: Depot) -> None:
    repo = simple(tmp_path / "project")
    repo.write("d/inner", "i\n")
    repo.commit()
    taken = snap(repo, depot)
    spaces = Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id))
    tree = spaces.prepare(attempt(), workspace_of(taken))
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "inner").write_text("private key")
    shutil.rmtree(tree / "d")
    (tree / "d").symlink_to(secret)
    made = spaces.commit(attempt(), workspace_of(taken), STAMP)
    spaces.push(attempt(), workspace_of(taken), made.commit or "")
    files = tree_of(depot, taken, made.commit)
    assert files["d"] == ("120000", str(secret).encode())
    assert "d/inner" not in files


def _piped(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _linked(path: Path, pipe: Path) -> None:
    _piped(pipe)
    path.parent.mkdir()
    path.symlink_to(pipe)


def _inner(folder: Path) -> Path:
    repo = Repo(folder)
    repo.write("inner", "i\n")
    return repo.path / ".git"


def _elsewhere(tree: Path) -> Path:
    """A repository out of sight whose HEAD is a pipe; what leads to it goes in `lured/.git`."""
    there = _inner(tree.parent / "home" / "lure")
    _piped(there / "HEAD")
    (tree / "lured").mkdir()
    return there


PIPES: dict[str, Callable[[Path], object]] = {
    "s/.gitignore": lambda tree: _piped(tree / "s" / ".gitignore"),
    ".gitattributes": lambda tree: _piped(tree / ".gitattributes"),
    "s/.gitignore, a link": lambda tree: _linked(tree / "s" / ".gitignore", tree.parent / "home" / "pipe"),
    "n/.git/HEAD": lambda tree: _piped(_inner(tree / "n") / "HEAD"),
    "n/.git/commondir": lambda tree: _piped(_inner(tree / "n") / "commondir"),
    "lured/.git, a file": lambda tree: (tree / "lured" / ".git").write_text(f"gitdir: {_elsewhere(tree)}\n"),
    "lured/.git, a link": lambda tree: (tree / "lured" / ".git").symlink_to(_elsewhere(tree)),
}
"""What a git of our own would open and wait for, for ever."""


@pytest.mark.parametrize("place", PIPES)
def test_a_pipe_where_git_reads_a_file_holds_nothing_up(tmp_path: Path, depot: Depot, place: str) -> None:
    taken = snap(simple(tmp_path / "project"), depot)
    spaces, workspace = (
        Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id)),
        workspace_of(taken),
    )
    tree = spaces.prepare(attempt(), workspace)
    baseline = spaces.baseline(attempt(), workspace)
    (tree / "f1").write_text("changed\n")
    PIPES[place](tree)
    made = spaces.commit(attempt(), workspace, STAMP, baseline)
    assert made.kind == "change" and made.commit is not None
    assert "f1" in made.files_changed
    named = place.split(",")[0]
    assert any(text.startswith(f"{named}: removed, as it was a pipe") for text in made.warnings), (
        made.warnings
    )
    _piped(tree / "left-by-a-gate" / ".gitignore")
    assert set(spaces.changed_since(attempt(), made.commit, baseline)) <= {"n/"}


def test_set_up_that_leaves_a_pipe_is_taken_down(tmp_path: Path, depot: Depot) -> None:
    taken = snap(simple(tmp_path / "project"), depot)
    spaces, workspace = (
        Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id)),
        workspace_of(taken),
    )
    tree = spaces.prepare(attempt(), workspace)
    _piped(tree / ".gitignore")
    _piped(tree / "a-pipe-of-its-own")
    spaces.baseline(attempt(), workspace)
    assert stat.S_ISFIFO((tree / "a-pipe-of-its-own").stat().st_mode)
    assert not (tree / ".gitignore").exists()


@pytest.mark.parametrize("place", ["HEAD", "config", "refs/heads/pancode/r-aaaa"])
def test_a_pipe_in_the_agents_own_repository_costs_its_commits_alone(
    tmp_path: Path, depot: Depot, place: str
) -> None:
    """Where there is no sandbox, which shows the repository read-only."""
    taken = snap(simple(tmp_path / "project"), depot)
    spaces, workspace = (
        Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id)),
        workspace_of(taken),
    )
    tree = spaces.prepare(attempt(), workspace)
    (tree / "f1").write_text("changed\n")
    _piped(spaces.git_dir(attempt()) / place)
    made = spaces.commit(attempt(), workspace, STAMP)
    assert made.files_changed == ("f1",)
    assert made.warnings == ("the agent's repository cannot be read: the result is built from its files",)
