"""Removes named pipes from a tree where git would open one and wait for it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from node_agent.files.walk import WalkedName, walk

_READ = frozenset({".gitignore", ".gitattributes", ".gitmodules"})
_OF_A_REPOSITORY = ("HEAD", "commondir")
"""The names by which git recognises a repository inside the tree."""
_POINTER, _MOST = b"gitdir:", 4096


def without_pipes(tree: Path) -> tuple[str, ...]:
    """Words on what was taken out. Closed folders are opened: git, too, will look into them later."""
    removed: list[str] = []
    for one in walk(tree, opening=True):
        if one.name in _READ and _waits(one.name, one.at):
            removed += _removed(one, one.name)
        elif one.name == ".git" and one.way:  # at the top it is ours, and no git of ours follows it
            removed += _repository(one)
    return tuple(removed)


def has_pipe(repository: Path) -> bool:
    """Check whether git may wait for something in this repository. Its own folder holds only files."""
    return any(not one.is_folder and _waits(one.name, one.at) for one in walk(repository))


def _repository(one: WalkedName) -> list[str]:
    """Of a folder that is a repository itself only what is in the way; what leads to one elsewhere goes."""
    there = ".git" if one.is_folder else _leads_to(one)
    waiting = [name for name in _OF_A_REPOSITORY if _waits(os.path.join(there, name), one.at)]
    if one.is_folder:
        return [text for name in waiting for text in _removed(one, f".git/{name}")]
    return _removed(one, ".git") if waiting else []


def _leads_to(one: WalkedName) -> str:
    """The repository to which a link or file of that name points; the path itself when it points nowhere."""
    try:
        handle = os.open(one.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=one.at)
    except OSError:  # a link: looked through as git does
        return one.name
    with os.fdopen(handle, "rb") as file:
        content = file.read(_MOST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    return os.fsdecode(content[len(_POINTER) :].strip()) if content.startswith(_POINTER) else one.name


def _waits(path: str, at: int) -> bool:
    """Check whether opening it may block, or never end: a pipe, a device, a link to one."""
    try:
        mode = os.stat(path, dir_fd=at).st_mode
    except (OSError, ValueError):  # nothing that can be opened
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _removed(one: WalkedName, path: str) -> list[str]:
    with suppress(OSError):  # then git's own time runs out
        os.unlink(path, dir_fd=one.at)
    name = "/".join((*one.way, path))[:200]
    return [f"{name}: a pipe or device where git reads a file, removed"]
