"""What is kept for later attempts is exactly what they would make: anything else goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.runtimes.base import BASE_FILES
from node_agent.wire.identity import AttemptId
from node_agent.wire.order import Workspace
from node_agent.workspace.spares import BELOW, Spares
from node_agent.workspace.workspaces import Workspaces
from tests.unit.node_agent.stage import identity

NONE = Workspace(kind="none")


class NoTransport:
    """Nothing is fetched or pushed without a repository."""

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        raise AssertionError(f"{identity} fetches {ref}")

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        raise AssertionError(f"{identity} pushes {commit}")


def _linked(folder: Path) -> None:
    aside = folder.parent.parent / "aside"
    (folder / "tree").rename(aside)
    (folder / "tree").symlink_to(aside)


@pytest.fixture
def spaces(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path, NoTransport())


def made(spaces: Workspaces, one: AttemptId) -> Path:
    tree = spaces.prepare(one, NONE)
    spaces.home(one, {})
    spaces.home(one, BASE_FILES)
    return tree.parent


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in (folder, *folder.rglob("*"))}


def test_folders_that_nobody_wrote_in_serve_again(spaces: Workspaces) -> None:
    first = made(spaces, identity())
    before = inodes(first)
    spaces.remove(identity(), NONE)
    assert not first.exists() and spaces.list() == ()
    second = made(spaces, identity(run="r-second"))
    assert second != first and inodes(second) == before
    third = made(spaces, identity(run="r-third"))
    assert inodes(third).isdisjoint(before)


def test_they_are_what_an_attempt_without_a_repository_gets(spaces: Workspaces) -> None:
    folder = made(spaces, identity())
    below = {way: frozenset(os.listdir(folder / way)) for way in BELOW}
    assert below == BELOW
    assert all((folder / way).stat().st_mode & 0o777 == 0o700 for way in BELOW)


def test_they_are_found_by_the_next_start(spaces: Workspaces, tmp_path: Path) -> None:
    before = inodes(made(spaces, identity()))
    spaces.remove(identity(), NONE)
    assert inodes(made(Workspaces(tmp_path, NoTransport()), identity(run="r-second"))) == before


TRACES: dict[str, Callable[[Path], object]] = {
    "a file": lambda folder: (folder / "tree" / "result").write_text("x"),
    "a folder": lambda folder: (folder / "home" / ".config").mkdir(),
    "something beside": lambda folder: (folder / "more").mkdir(),
    "a link": lambda folder: (folder / "home" / "tmp" / "away").symlink_to("/etc"),
    "a mode": lambda folder: (folder / "tree").chmod(0o755),
    "a sticky bit": lambda folder: (folder / "home" / "tmp").chmod(0o1700),
    "one is gone": lambda folder: (folder / "home" / "tmp").rmdir(),
    "a link in its place": _linked,
    "an attribute": lambda folder: os.setxattr(folder / "tree", "user.note", b"x"),
}


@pytest.mark.parametrize("trace", TRACES)
def test_what_bears_a_trace_is_not_used_again(spaces: Workspaces, trace: str) -> None:
    folder = made(spaces, identity())
    TRACES[trace](folder)
    spaces.remove(identity(), NONE)
    assert not folder.exists()
    again = made(spaces, identity(run="r-second"))
    assert {way: frozenset(os.listdir(again / way)) for way in BELOW} == BELOW
    assert not (again / "tree").is_symlink() and not (folder.parent / ".spare").exists()


def test_one_that_was_touched_while_it_waited_is_not_used(spaces: Workspaces, tmp_path: Path) -> None:
    made(spaces, identity())
    spaces.remove(identity(), NONE)
    (spare,) = (tmp_path / "work" / ".spare").iterdir()
    (spare / "home" / "planted").write_text("x")
    assert not (made(spaces, identity(run="r-second")) / "home" / "planted").exists()


def test_only_so_many_wait(tmp_path: Path) -> None:
    spares = Spares(tmp_path / ".spare", most=2)
    for number in range(3):
        folder = tmp_path / str(number)
        for way in BELOW:
            (folder / way).mkdir(mode=0o700)
        assert spares.keep(folder) is (number < 2)
    assert (tmp_path / "2").exists()
    assert [spares.take(tmp_path / name) for name in "abc"] == [True, True, False]
