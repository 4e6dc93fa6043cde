"""Reads plain files of bounded size out of a checkout: AGENTS.md, an agent's question, its board, reports."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from node_agent.attempt.board import FOLDER as BOARD
from node_agent.attempt.board import MOST_BYTES as MOST_VALUE
from node_agent.attempt.ports import Guide
from node_agent.attempt.questions import FILE as QUESTION
from node_agent.attempt.questions import MOST_BYTES
from node_agent.attempt.reports import MOST_BYTES as MOST_REPORT
from node_agent.workspace.folders import AttemptFolders, real_folder, write_below

NAME = "AGENTS.md"
MAX_BYTES = 32 << 10
MOST_LISTED = 300
"""Files of a board that are looked at."""


def read_guide(tree: Path) -> Guide | None:
    """None when there is none. Follows no link and waits for no pipe."""
    path = tree / NAME
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return _unread()
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return _unread()
    with os.fdopen(handle, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) <= MAX_BYTES:
        return Guide(data.decode("utf-8", "replace"))
    finding = f"{NAME} is larger than {MAX_BYTES >> 10} KB: the agent was given its beginning"
    return Guide(data[:MAX_BYTES].decode("utf-8", "ignore"), (finding,))


def take_question(places: AttemptFolders, folder: str, is_tracked: Callable[[str], bool]) -> bytes | None:
    """Move the agent's question out of the tree, from where it began or from the top, and read it.

    None where there is none. A file that the repository has is none of the agent's.
    """
    names = dict.fromkeys((f"{folder}/{QUESTION}" if folder else QUESTION, QUESTION))
    for name in () if places.question.is_file() else names:
        if _is_plain(places.tree, name) and not is_tracked(name):
            os.rename(places.tree / name, places.question)
            with suppress(OSError):
                os.rmdir((places.tree / name).parent)
            break
    if not places.question.is_file():
        return None
    with open(places.question, "rb") as file:
        return file.read(MOST_BYTES + 1)


def lay_board(tree: Path, files: Mapping[str, bytes]) -> None:
    """Files below the board's folder. OSError where the repository has something else in its place."""
    for name, data in files.items():
        path = tree
        for part in Path(name).parts[:-1]:
            path = path / part
            if os.path.lexists(path) and not real_folder(path):
                raise NotADirectoryError(f"{path} is no folder")
            path.mkdir(mode=0o700, exist_ok=True)
        write_below(tree, name, data)


def take_board(places: AttemptFolders, is_tracked: Callable[[str], bool]) -> dict[str, bytes]:
    """Move the board out of the tree, and read its files: `NAMESPACE/KEY`. One of the repository's stays.

    From then on no result has what lies in its place, also where it could not be moved.
    """
    kept, tree = places.folder / "board", places.tree
    kept.mkdir(mode=0o700, exist_ok=True)
    if not any(kept.iterdir()):
        if not real_folder(tree / Path(BOARD).parent) or not real_folder(tree / BOARD) or is_tracked(BOARD):
            return {}
        for folder in ((tree / BOARD).parent, tree / BOARD):
            with suppress(OSError):  # an agent may have closed them
                os.chmod(folder, 0o700)
        os.rename(tree / BOARD, kept)
        with suppress(OSError):
            os.rmdir((tree / BOARD).parent)
    found: dict[str, bytes] = {}
    for folder in sorted(kept.iterdir())[:MOST_LISTED]:
        for file in sorted(folder.iterdir())[:MOST_LISTED] if real_folder(folder) else ():
            name = f"{folder.name}/{file.name}"
            if len(found) < MOST_LISTED and _is_plain(kept, name):
                with open(file, "rb") as data:
                    found[name] = data.read(MOST_VALUE + 1)
    return found


def is_left_out(places: AttemptFolders, name: bytes) -> bool:
    """Whether this file is one of a board that was taken: it is in no result."""
    return name.startswith(os.fsencode(f"{BOARD}/")) and (places.folder / "board").is_dir()


def clear_reports(tree: Path, names: Iterable[str]) -> None:
    """Remove a file or link of such a name. One behind a link stays, and is not read later, either."""
    for name in names:
        path = tree / name
        if all(real_folder(tree.joinpath(*Path(name).parts[:n])) for n in range(len(Path(name).parts))):
            with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                _remove(path)


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except PermissionError:  # an agent may have closed its folder; on some systems it is a folder itself
        if real_folder(path):
            return
        os.chmod(path.parent, 0o700)
        os.unlink(path)


def read_reports(tree: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Those that are plain files: a little more than may be read of each."""
    found: dict[str, bytes] = {}
    for name in names:
        if _is_plain(tree, name):
            with suppress(OSError), open(tree / name, "rb") as file:
                found[name] = file.read(MOST_REPORT + 1)
    return found


def _is_plain(tree: Path, name: str) -> bool:
    """Check whether it is a plain file, and no link leads to it."""
    path, parts = tree, Path(name).parts
    for part in parts[:-1]:
        path = path / part
        if not real_folder(path):
            return False
    path = path / parts[-1]
    return os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)


def _unread() -> Guide:
    return Guide("", (f"{NAME} is not a plain file: it was not read",))
