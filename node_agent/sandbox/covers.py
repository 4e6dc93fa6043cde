"""Finds the existing files that path rules name, so that the sandbox hides them, in later phases, too.

A mount covers what exists when a phase begins. What comes later is held by the checks on calls and on the
result. So is `no-delete`: a mount would stop who saves by renaming. A mount keeps its file from being moved,
but not the folders above it: so what a phase hid is remembered by device and inode.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.files.durable import write_atomic
from node_agent.policy.patterns import is_covering, is_plain
from node_agent.sandbox.policy import Covers, is_within
from node_agent.wire.policy import PathAccess, PathRule

COVERED = "covered.json"
"""The file with the covered paths, in an attempt's folder, which nothing of the attempt can write."""


@dataclass(frozen=True, slots=True)
class Known:
    """A file or folder of the checkout that was covered. `at`: device and inode."""

    path: str
    access: PathAccess
    at: tuple[int, int]


def read_covered(folder: Path) -> tuple[Known, ...]:
    """The files that earlier phases of this attempt had covered."""
    try:
        entries = json.loads((folder / COVERED).read_bytes())
    except FileNotFoundError:
        return ()
    return tuple(Known(path, PathAccess(access), (device, inode)) for path, access, device, inode in entries)


def write_covered(folder: Path, tree: str, covers: Covers, before: Iterable[Known]) -> None:
    """Record for the next phase the paths of the checkout that this phase has covered, and `before`."""
    entries = {one.at: (one.path, one.access) for one in before}
    every = [*((path, PathAccess.NONE) for path in (*covers.folders, *covers.files))]
    every += [(path, PathAccess.READ) for path in covers.kept]
    for path, access in every:
        if path.startswith(f"{tree}/"):
            seen = os.lstat(path)
            entries[seen.st_dev, seen.st_ino] = (path, access)
    if entries:
        lines = [[path, access.value, *at] for at, (path, access) in entries.items()]
        write_atomic(str(folder / COVERED), json.dumps(lines).encode(), sync=False)


def found_again(tree: str, before: Iterable[Known], most: int) -> tuple[list[Known], bool]:
    """Return the files' present places, and whether that is all: a checkout may be too large to search."""
    here = list(before)
    stay = [one for one in here if _at(one.path) == one.at and _is_plain(tree, one.path)]
    lost = {one.at: one for one in here if one not in stay}
    inodes = {inode for _, inode in lost}  # which an entry tells without another look at it
    for seen, entry in enumerate(_tree_entries(tree) if lost else (), 1):
        if seen > most:
            return stay, False
        at = _at(entry.path) if entry.inode() in inodes else None
        if at in lost:
            one = lost.pop(at)
            stay.append(Known(entry.path, one.access, one.at))
            if not lost:
                break
    return stay, True  # what is nowhere is gone


def _tree_entries(tree: str) -> Iterator[os.DirEntry[str]]:
    folders = [tree]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:  # closed to us, or too deep to be named
            continue
        yield from entries
        folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _at(path: str) -> tuple[int, int] | None:
    try:
        seen = os.lstat(path)
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def _is_plain(tree: str, path: str) -> bool:
    """Whether no link is on the way to the path."""
    return os.path.realpath(path) == f"{os.path.realpath(tree)}{path.removeprefix(tree)}"


MOST_SEEN = 250_000
"""The most entries of a checkout that are looked at, so that a start takes no more than some seconds."""
MOST_COVERED = 300
"""The most mounts: each is two words of an argument list, and takes the kernel's time at every start."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The folders of a phase: its checkout, and the shown parts of the machine.

    `home`: the meaning of `~`, the home of the node agent's user. `needed`: the paths without which the phase
    cannot run, so that no rule can take them away.
    """

    tree: str
    shown: tuple[str, ...] = ()
    home: str = "~"
    needed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    covers: dict[str, PathAccess] = field(default_factory=dict)
    seen: int = 0

    def add(self, path: str, access: PathAccess) -> None:
        if access is PathAccess.NONE or path not in self.covers:
            self.covers[path] = access

    @property
    def is_full(self) -> bool:
        return self.seen > MOST_SEEN or len(self.covers) > MOST_COVERED


def covers_of(
    rules: Sequence[PathRule], ground: Ground, writable: bool, before: Sequence[Known] = ()
) -> Covers:
    """The paths to cover now. None of them is a link, nor lies behind one.

    `before`: what was covered once is again, and comes first, whatever a program has put beside it since.
    """
    kinds = (PathAccess.NONE, PathAccess.READ) if writable else (PathAccess.NONE,)
    counting = [rule for rule in rules if rule.access in kinds]
    inside = [rule for rule in counting if not rule.pattern.startswith(("/", "~/"))]
    found = _Found()
    again, is_all = found_again(ground.tree, [one for one in before if one.access in kinds], MOST_SEEN)
    for one in again:
        found.add(one.path, one.access)
    _plain(found, ground, [rule for rule in inside if is_plain(rule.pattern)])
    outside = [rule for rule in counting if rule not in inside and rule.access is PathAccess.NONE]
    _outside(found, ground, [rule for rule in outside if is_plain(rule.pattern)])
    _walked(found, ground, [rule for rule in inside if not is_plain(rule.pattern)])
    return _made(found, found.is_full, not is_all)


def _plain(found: _Found, ground: Ground, rules: Iterable[PathRule]) -> None:
    for rule in rules:
        _cover(found, ground, os.path.join(ground.tree, rule.pattern.strip("/")), rule.access)


def _walked(found: _Found, ground: Ground, rules: list[PathRule]) -> None:
    """Look at every entry of the checkout except git's own; a hidden folder is not entered."""
    matching = _Matching(rules)
    folders: list[tuple[str, str, bool]] = [(ground.tree, "", False)] if rules else []
    while folders and not found.is_full:
        folder, name, kept = folders.pop()
        for entry in _entries(folder):
            found.seen += 1
            path = f"{name}{entry.name}"
            if path == ".git" or found.is_full:
                continue
            access = matching.access(entry.name, path)
            if access is not None and not (kept and access is PathAccess.READ):
                _cover(found, ground, entry.path, access)
            if access is not PathAccess.NONE and entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, f"{path}/", kept or access is PathAccess.READ))


class _Matching:
    """The strictest rule for an entry; most rules are one name, and need no look at their pattern."""

    def __init__(self, rules: Iterable[PathRule]) -> None:
        self._names: dict[str, PathAccess] = {}
        self._patterns: list[PathRule] = []
        for rule in sorted(rules, key=lambda rule: rule.access is PathAccess.NONE):
            name = rule.pattern.removesuffix("/")
            if "/" in name or "*" in name or "?" in name:
                self._patterns.append(rule)
            else:
                self._names[name] = rule.access

    def access(self, name: str, path: str) -> PathAccess | None:
        found = {rule.access for rule in self._patterns if is_covering(rule.pattern, path)}
        if name in self._names:
            found.add(self._names[name])
        return next((one for one in (PathAccess.NONE, PathAccess.READ) if one in found), None)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # closed to us, gone, or too deep to be named
        return


def _cover(found: _Found, ground: Ground, path: str, access: PathAccess) -> None:
    """The real path, if it is in the checkout: nothing can be mounted on a link."""
    top, real = os.path.realpath(ground.tree), os.path.realpath(path)
    if real.startswith(f"{top}/") and os.path.exists(real):
        here = f"{ground.tree}{real[len(top) :]}"
        if here != f"{ground.tree}/.git" or access is PathAccess.NONE:
            found.add(here, access)


def _outside(found: _Found, ground: Ground, rules: Iterable[PathRule]) -> None:
    """Cover hidden paths outside the checkout; all else there is read-only in any case."""
    for rule in rules:
        pattern = rule.pattern.rstrip("/")
        path = os.path.realpath(f"{ground.home}{pattern[1:]}" if pattern.startswith("~") else pattern)
        seen = any(is_within(path, above) for above in ground.shown)
        if seen and os.path.exists(path) and not any(is_within(one, path) for one in ground.needed):
            found.add(path, rule.access)


def _made(found: _Found, left: bool, lost: bool) -> Covers:
    folders, files, kept = list[str](), list[str](), list[str]()
    hidden = {path for path, access in found.covers.items() if access is PathAccess.NONE}
    for path, access in list(found.covers.items())[:MOST_COVERED]:
        if any(path != other and is_within(path, other) for other in hidden):
            continue  # it is gone with what holds it
        if access is PathAccess.READ:
            kept.append(path)
        elif stat.S_ISDIR(os.lstat(path).st_mode):
            folders.append(path)
        else:
            files.append(path)
    return Covers(tuple(folders), tuple(files), tuple(kept), left, lost)
