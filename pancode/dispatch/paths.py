"""Decides which words of a task are paths, and whether a path lies inside the project; looks at no disk."""

from __future__ import annotations

import posixpath
import re

_TRIM = "\"'`()[]{}<>,;!?*"
_LINE = re.compile(r":\d+(:\d+)?$")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}$")
# A route of a web service starts with a slash too; these first folders are of a file system.
_ROOTS = frozenset(
    "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var "
    "Applications Library System Users Volumes private".split()
)
_MOST = 200


def mentioned(task: str) -> tuple[str, ...]:
    """Words of the task that read as paths, each once, in order; at most 200."""
    words = (_LINE.sub("", _bare(word)) for word in task.split())
    return tuple(dict.fromkeys(word for word in words if _is_path(word)))[:_MOST]


def _bare(word: str) -> str:
    """The word without quotes, brackets and full stops around it."""
    return word.strip(_TRIM).rstrip(_TRIM + ".:")


def _is_path(word: str) -> bool:
    if not word or _SCHEME.match(word) or "\0" in word:
        return False
    if word.startswith(("./", "../", "~/")):
        return True
    if word.startswith("/"):
        return is_rooted(word) or bool(_EXTENSION.search(word))
    return "/" in word and bool(_EXTENSION.search(word))


def is_rooted(word: str) -> bool:
    """Whether an absolute path starts at a well-known folder of a file system, and so is no web route."""
    parts = word.split("/")
    return len(parts) > 1 and parts[1] in _ROOTS


def located(word: str, cwd: str, home: str) -> str:
    """The absolute path of the word, with `..` resolved; the caller handles links."""
    if word.startswith("~/"):
        word = posixpath.join(home, word[2:])
    return posixpath.normpath(posixpath.join(cwd, word))


def is_inside(path: str, project: str) -> bool:
    """Whether the path is the project's folder or lies below it; a longer sibling name does not."""
    root = posixpath.normpath(project)
    return path == root or path.startswith(root.rstrip("/") + "/")
