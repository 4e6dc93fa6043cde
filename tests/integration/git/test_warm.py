"""A checkout that served before is as clean as a new one, whatever the agent before did to it."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.wire.job import Workspace
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.repos import PathTransport, Repo, attempt
from tests.integration.git.warm_world import again, dispatched, must_be_as_new, project, waiting


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return project(tmp_path / "project")


@pytest.fixture
def wanted(repo: Repo, depot: Depot) -> Workspace:
    return dispatched(repo, depot, "r-aaaa")


@pytest.fixture
def spaces(tmp_path: Path, depot: Depot, wanted: Workspace) -> Workspaces:
    return Workspaces(tmp_path / "node", PathTransport(depot, str(wanted.repo)))


def _forged(tree: Path) -> None:
    """Other bytes of the same length, and every time that a program can set as it was."""
    before = (tree / "f1").stat()
    with (tree / "f1").open("r+") as file:
        file.write("F1")
    os.utime(tree / "f1", ns=(before.st_atime_ns, before.st_mtime_ns))


def _hard_linked(tree: Path) -> None:
    os.link(tree / "f1", tree.parent / "home-of-mine")
    os.link(tree / "f2", tree / "second")


def _mapped(tree: Path) -> None:
    with (tree / "f1").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:2] = b"F1"


def _chmod_and_back(tree: Path) -> None:
    for mode in (0o600, 0o644):
        (tree / "f1").chmod(mode)


def _own_git(tree: Path) -> None:
    agent = Repo(tree, init=False)
    agent.git("config", "core.fsmonitor", "/bin/evil")
    agent.git("config", "core.worktree", "/")
    agent.git("config", "--unset", "core.worktree")
    agent.git("branch", "mine")
    agent.git("update-index", "--assume-unchanged", "f1")
    agent.git("update-index", "--skip-worktree", "f2")
    (tree / "f1").write_text("hidden\n")
    (tree / "f2").write_text("hidden\n")
    (tree.parent / "git" / "info").mkdir(exist_ok=True)
    (tree.parent / "git" / "info" / "exclude").write_text("*\n")
    (tree.parent / "git" / "info" / "attributes").write_text("* text eol=crlf\n")
    (tree.parent / "git" / "objects" / "info" / "alternates").write_text("/nonexistent\n")


def _attributes(tree: Path) -> None:
    """With these git takes the files for unchanged, though their bytes are others."""
    (tree / ".gitattributes").write_text("* text eol=crlf\n")
    (tree / "f1").write_bytes(b"f1\r\n")


def _gone_git(tree: Path) -> None:
    (tree / ".git").unlink()
    shutil.rmtree(tree.parent / "git")
    Repo(tree).write("inner", "i")


def _replaced(tree: Path) -> None:
    shutil.rmtree(tree / "d")
    (tree / "d").symlink_to("/etc")
    (tree / "f1").unlink()
    (tree / "f1").mkdir()
    (tree / "f1" / "x").write_text("x")
    (tree / "ln").unlink()
    (tree / "ln").symlink_to("f2")


MESSES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda tree: None,
    "new files": lambda tree: [(tree / name).write_text("n") for name in ("new", "d/new.o")],
    "new folders": lambda tree: (tree / "d" / "deep" / "deeper").mkdir(parents=True),
    "deleted": lambda tree: shutil.rmtree(tree / "d"),
    "forged times": _forged,
    "written through a mapping": _mapped,
    "hard links": _hard_linked,
    "a mode": lambda tree: (tree / "f1").chmod(0o777),
    "a mode and back": _chmod_and_back,
    "not executable": lambda tree: (tree / "run.sh").chmod(0o644),
    "an attribute of a file": lambda tree: os.setxattr(tree / "f1", "user.note", b"x"),
    "swapped": lambda tree: [
        (tree / a).rename(tree / b) for a, b in (("f1", "x"), ("f2", "f1"), ("x", "f2"))
    ],
    "other kinds": _replaced,
    "its repository": _own_git,
    "attributes of git": _attributes,
    "another repository": _gone_git,
    "a commit": lambda tree: ((tree / "f1").write_text("c"), Repo(tree, init=False).commit("mine")),
    "a pipe": lambda tree: os.mkfifo(tree / "d" / "pipe"),
}


@pytest.mark.parametrize("mess", MESSES)
def test_what_an_agent_left_is_gone_and_the_rest_is_not_written_again(
    spaces: Workspaces, wanted: Workspace, depot: Depot, mess: str
) -> None:
    inode = again(spaces, wanted, MESSES[mess])
    assert len(waiting(spaces)) == 1
    tree = must_be_as_new(spaces, "r-aaaa", wanted, depot)
    assert (tree / "other" / "f5").stat().st_ino == inode
    assert waiting(spaces) == []


FOLDERS: dict[str, Callable[[Path], object]] = {
    "a mode of a folder": lambda tree: (tree / "d").chmod(0o777),
    "a closed folder": lambda tree: (tree / "d").chmod(0),
    "an attribute of a folder": lambda tree: os.setxattr(tree / "d", "user.note", b"x"),
    "a mode of the top": lambda tree: tree.chmod(0o777),
    "a link in place of the tree": lambda tree: (
        tree.rename(tree.parent / "x").with_name("tree").symlink_to("x")
    ),
    "the index beside it": lambda tree: (tree.parent / "index").write_bytes(b"DIRC"),
}


@pytest.mark.parametrize("mess", FOLDERS)
def test_what_cannot_be_made_as_new_is_not_kept(
    spaces: Workspaces, wanted: Workspace, depot: Depot, mess: str
) -> None:
    tree = spaces.prepare(attempt(), wanted)
    FOLDERS[mess](tree)
    spaces.remove(attempt(), wanted)
    assert spaces.list() == () and waiting(spaces) == []
    must_be_as_new(spaces, "r-aaaa", wanted, depot)


def _turned(repo: Repo) -> None:
    shutil.rmtree(repo.path / "d")
    repo.write("d", "now a file\n")
    (repo.path / "f1").unlink()
    repo.write("f1/inner", "now a folder\n")
    (repo.path / "run.sh").chmod(0o644)
    (repo.path / "ln").unlink()
    (repo.path / "ln").symlink_to("f2")


def _with_submodule(repo: Repo) -> None:
    inner = Repo(repo.path.parent / "inner")
    inner.write("i")
    inner.commit()
    repo.git("submodule", "-q", "add", str(inner.path), "sub")
    repo.commit("with a submodule")


NEXT: dict[str, tuple[Callable[[Repo], object], bool]] = {
    "the same": (lambda repo: None, True),
    "a changed file": (lambda repo: repo.write("f1", "changed\n"), True),
    "a new file": (lambda repo: repo.write("d/e/new", "new\n"), True),
    "a deleted folder": (lambda repo: shutil.rmtree(repo.path / "d"), True),
    "other kinds": (_turned, True),
    "a commit": (lambda repo: (repo.write("f2", "2\n"), repo.commit()), True),
    "a submodule": (_with_submodule, True),
    "attributes": (lambda repo: repo.write(".gitattributes", "* text eol=crlf\n"), False),
}


@pytest.mark.parametrize("change", NEXT)
def test_it_is_brought_to_the_next_snapshot(
    spaces: Workspaces, repo: Repo, wanted: Workspace, depot: Depot, change: str
) -> None:
    act, is_warm = NEXT[change]
    inode = again(spaces, wanted, _replaced)
    act(repo)
    tree = must_be_as_new(spaces, "r-bbbb", dispatched(repo, depot, "r-bbbb"), depot)
    assert ((tree / "other" / "f5").stat().st_ino == inode) is is_warm


def test_a_submodule_that_an_agent_filled_is_empty_again(
    spaces: Workspaces, repo: Repo, depot: Depot
) -> None:
    _with_submodule(repo)
    wanted = dispatched(repo, depot, "r-aaaa")
    again(spaces, wanted, lambda tree: (tree / "sub" / "planted").write_text("x"))
    must_be_as_new(spaces, "r-aaaa", wanted, depot)
