"""Folders that an agent has had are taken away, given and opened, whatever they look like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.files.walk import WalkedName, walk_tree
from node_agent.workspace import folders
from node_agent.workspace.cache import contents_of
from node_agent.workspace.folders import change_owner, erase, make_readable, open_to_readers

DEEP = 3000
"""More than Python recurses, than a path may be long, than a process may have files open."""


def _dig(top: Path, depth: int) -> None:
    """A file at the bottom of so many nested folders."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, 0o000, dir_fd=here))
    os.close(here)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    top = tmp_path / "deep"
    _dig(top, DEEP)
    try:
        yield top
    finally:
        erase(top)


def _bottom_mode(top: Path) -> int:
    return next(
        os.lstat(one.name, dir_fd=one.at).st_mode & 0o777 for one in walk_tree(top) if one.name == "bottom"
    )


def test_a_deep_folder_is_erased(deep: Path) -> None:
    erase(deep)
    assert not deep.exists()


def test_a_deep_folder_is_given(deep: Path) -> None:
    change_owner(deep, os.getuid())
    assert _bottom_mode(deep) == 0


def test_a_deep_folder_is_opened(deep: Path) -> None:
    make_readable(deep)
    assert _bottom_mode(deep) == 0o400
    open_to_readers(deep)
    assert _bottom_mode(deep) == 0o444


def test_a_deep_folder_is_not_kept_and_that_is_an_error_like_another(deep: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        contents_of(deep)


def test_a_folder_comes_after_what_is_in_it_and_no_link_is_followed(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").touch()
    (tmp_path / "a" / "l").symlink_to(tmp_path)
    seen = {"/".join((*one.way, one.name)): one.is_folder for one in walk_tree(tmp_path)}
    assert seen == {"a": True, "a/b": True, "a/b/c": True, "a/b/f": False, "a/d": True, "a/l": False}
    order = list(seen)
    assert order[-1] == "a" and order.index("a/b") > max(order.index("a/b/c"), order.index("a/b/f"))


def test_a_link_as_the_top_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "f").touch()
    (tmp_path / "link").symlink_to("there")
    assert list(walk_tree(tmp_path / "link")) == []
    erase(tmp_path / "link")
    assert os.listdir(tmp_path) == ["there"] and (tmp_path / "there" / "f").exists()


def test_a_folder_that_is_moved_away_meanwhile_ends_the_walk(tmp_path: Path) -> None:
    (tmp_path / "top" / "a").mkdir(parents=True)
    (tmp_path / "top" / "a" / "f").touch()

    def _step(one: WalkedName) -> None:
        if one.name == "f":
            (tmp_path / "top" / "a").rename(tmp_path / "a")

    with pytest.raises(OSError, match="moved while it was being read"):
        for one in walk_tree(tmp_path / "top"):
            _step(one)


def test_a_walk_leaves_no_file_open(deep: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for one in walk_tree(deep):
        assert one.at >= 0
        break
    list(walk_tree(deep))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o500])
def test_closed_folders_are_erased_by_their_owner(tmp_path: Path, mode: int) -> None:
    """In a child that is nobody in particular where the tests are root, whom no mode stops."""
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "f").touch()
    (top / "a" / "b").chmod(mode)
    (top / "a").chmod(mode)
    assert _as_somebody(top) == 0
    assert list(top.iterdir()) == []


def _as_somebody(top: Path) -> int:
    if os.getuid() != 0:
        erase(top / "a")
        return 0
    change_owner(top, 54321)
    here = os.open(top, os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.fchdir(here)
            os.setgroups([])
            os.setresgid(54321, 54321, 54321)
            os.setresuid(54321, 54321, 54321)
            folders.erase(Path("a"))
            status = 0
        finally:
            os._exit(status)
    os.close(here)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
