"""Reads the change of each path between the snapshot and the result, commits in between included."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from node_agent.policy.breaches import FileChange, Touch
from node_agent.wire.git import Change, parse_raw_diff, shown
from node_agent.workspace.gitrun import NodeGit

_ABSENT, _LINK, _MODULE = "000000", "120000", "160000"
_RAW = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id")
MOST_TARGET = 4096
"""Bytes of a link's target; the kernel takes no longer one."""


def all_changes(git: NodeGit, tree: Path, ends: tuple[str, str], tip: str) -> tuple[FileChange, ...]:
    """Between both ends; and, marked so, what a commit of the agent's did that the end no longer shows.

    `tip`: the newest commit of the agent's own, or the snapshot when it made none.
    """
    snapshot, commit = ends
    last = _read(git, tree, _between(git, snapshot, commit))
    if tip == snapshot:
        return tuple(last)
    known = {(change.path, change.how) for change in last}
    on_the_way = (replace(one, passing=True) for one in _read(git, tree, _on_the_way(git, snapshot, tip)))
    return (*last, *(one for one in dict.fromkeys(on_the_way) if (one.path, one.how) not in known))


def _between(git: NodeGit, old: str, new: str) -> list[Change]:
    return list(parse_raw_diff(git.must(*_RAW, old, new).out))


def _on_the_way(git: NodeGit, snapshot: str, tip: str) -> list[Change]:
    """Each commit against each of its parents; one without parents against the snapshot."""
    new = (tip, f"^{snapshot}")
    commits = git.must("rev-list", *new).out
    found = list(parse_raw_diff(git.must(*_RAW, "-m", "--stdin", stdin=commits).out))
    for root in git.text("rev-list", "--max-parents=0", *new).split():
        found += _between(git, snapshot, root)
    return found


def _read(git: NodeGit, tree: Path, changes: Iterable[Change]) -> list[FileChange]:
    every = list(changes)
    targets = _targets(git, {one.new for one in every if one.new_mode == _LINK})
    return [
        FileChange(path := shown(one.path), _how(one), _place(tree, path, targets.get(one.new, b"")))
        if one.new_mode == _LINK
        else FileChange(shown(one.path), _how(one))
        for one in every
    ]


def _how(one: Change) -> Touch:
    if one.old_mode == _ABSENT:
        return Touch.ADDED
    if one.new_mode == _ABSENT:
        return Touch.DELETED
    if _kind(one.old_mode) != _kind(one.new_mode):
        return Touch.REPLACED
    return Touch.MODE if one.old == one.new else Touch.CHANGED


def _kind(mode: str) -> str:
    return mode if mode in (_LINK, _MODULE) else "file"


def _targets(git: NodeGit, oids: set[str]) -> dict[str, bytes]:
    """The targets of links, by object; without those of an impossible length: an agent made them."""
    asked = "".join(f"{oid}\n" for oid in sorted(oids)).encode()
    if not asked:
        return {}
    sizes = (line.split() for line in git.must("cat-file", "--batch-check", stdin=asked).out.splitlines())
    small = b"".join(words[0] + b"\n" for words in sizes if 0 < int(words[2]) <= MOST_TARGET)
    raw, found, at = git.must("cat-file", "--batch", stdin=small).out if small else b"", dict[str, bytes](), 0
    while at < len(raw):
        head, _, _ = raw[at : at + 200].partition(b"\n")
        oid, _, size = head.decode("ascii").split()
        start = at + len(head) + 1
        found[oid] = raw[start : start + int(size)]
        at = start + int(size) + 1
    return found


def _place(tree: Path, path: str, target: bytes) -> str:
    """The target of the link, `..` folded by name alone: from the top of the tree, or absolute."""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), shown(target)))
    if not place.startswith("/"):
        return place
    inside = os.path.relpath(place, tree)
    return place if inside.startswith("..") else inside
