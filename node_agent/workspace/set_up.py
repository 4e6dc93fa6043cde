"""Restores the result of an earlier set-up, or saves this one: between a checkout and the cache."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from node_agent.attempt.ports import StepFailed
from node_agent.attempt.records import PutBack
from node_agent.wire.order import Order
from node_agent.workspace.cache import Cache, CachedFolder
from node_agent.workspace.contents import Contents, contents_of, move_place
from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.folders import AttemptFolders, WorkspaceFolders, erase, real_folder
from node_agent.workspace.gitrun import NodeGit
from node_agent.workspace.recipe import NotCached, key_of

_COPIED = (
    "the repository's own code was copied into it, and would be old in a later run; install it by reference, "
    "as in `pip install -e .`"
)
_DIRECT = "direct_url.json"
"""The file in which an installer records a package's source folder, and whether it is editable."""


MISS = "set-up runs: this node keeps no result for these commands, lockfiles and folders"


class SetUps:
    """Repeatable at any point: what a crash left half put back is taken away and done again."""

    def __init__(self, home: WorkspaceFolders, cache: Cache, machine: str) -> None:
        self._home, self._cache, self._machine = home, cache, machine

    def put_back(self, order: Order, log: Path) -> PutBack:
        """Before anything of the attempt ran. The log is written when something was put back."""
        places = self._home.places(order.identity)
        log.unlink(missing_ok=True)
        try:
            _must_be_set_ups_alone(order, places)
            _clear(
                places.tree, order.cache
            )  # of a try that a crash cut short: the snapshot has nothing there
            key = key_of(order, places.tree, self._machine)
        except NotCached as why:
            return PutBack(None, findings=(f"nothing of set-up is cached: {why}",), told="set-up runs")
        try:
            kept = self._cache.fetch(key, order.cache, lambda maker, copies: _move(maker, copies, places))
        except OSError as exc:
            _clear(places.tree, order.cache)
            return PutBack(key, findings=(f"the kept result of set-up could not be restored: {exc}"[:1000],))
        if kept is None:
            return PutBack(key, told=MISS)
        log.write_text(_log_text(kept, key))
        return PutBack(key, restored=True, told=f"set-up was not run: put back as {kept.maker} left it")

    def keep(self, order: Order, key: str) -> tuple[str, ...]:
        """After a set-up that ended well, while no process of the attempt lives. Why not, in words."""
        if self._cache.has(key):
            return ()
        try:
            self._keep(order, key)
        except (NotCached, StepFailed, OSError, ValueError) as why:
            return (f"the result of set-up is not kept for later attempts: {why}"[:1000],)
        return ()

    def _keep(self, order: Order, key: str) -> None:
        places = self._home.places(order.identity)
        mark = _mark(str(order.identity), places)
        found = {name: _looked_over(places.tree, name, mark) for name in order.cache}
        if not self._cache.has_room(sum(seen.size for _, seen in found.values())):
            raise NotCached("the disk's reserve would be touched")
        self._cache.put(key, str(order.identity), found)


def _must_be_set_ups_alone(order: Order, places: AttemptFolders) -> None:
    if order.workspace.kind == "none":
        raise NotCached("there is no repository")
    for name in order.cache:
        _must_lie_inside(places.tree, name)
    listing = ("ls-tree", "--full-tree", "--name-only", "--", str(order.workspace.snapshot))
    theirs = NodeGit(places.git).text(*listing, *order.cache)
    if theirs:
        raise NotCached(f"{theirs.splitlines()[0]} is in the repository, and so not set-up's alone")


def _clear(tree: Path, names: tuple[str, ...]) -> None:
    for name in names:
        erase(tree / name)


def _mark(attempt: str, places: AttemptFolders) -> bytes:
    """The end of the checkout's path in that attempt's files, wherever the node's home is."""
    return os.fsencode(f"/{attempt}/{places.tree.name}")


def _move(maker: str, copies: Mapping[str, Path], places: AttemptFolders) -> None:
    old, new, tree = _mark(maker, places), _mark(places.folder.name, places), places.tree
    for name, copy in copies.items():
        move_place(copy, contents_of(copy, old).bound, old, new)
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        os.rename(copy, tree / name)


def _looked_over(tree: Path, name: str, mark: bytes) -> tuple[Path, Contents]:
    _must_lie_inside(tree, name)
    if not real_folder(tree / name):
        raise NotCached(f"set-up made no folder {name}")
    seen = contents_of(tree / name, mark)
    for one in seen.bound:
        if os.path.basename(one) == _DIRECT and not _is_by_reference(tree / name / one):
            raise NotCached(f"{name}/{one}: {_COPIED}")
    return tree / name, seen


def _is_by_reference(path: Path) -> bool:
    try:
        parsed = json.loads(path.read_bytes())
        return bool(parsed["dir_info"]["editable"])
    except (ValueError, KeyError, TypeError):
        return False


def _must_lie_inside(tree: Path, name: str) -> None:
    """No link on the way leads out of the checkout."""
    for above in (tree / name).parents:
        if above == tree:
            return
        if os.path.lexists(above) and not real_folder(above):
            raise NotCached(f"{above.relative_to(tree)} is no folder")
    raise WorkspaceFailure(f"{name} does not lie in the checkout")


def _log_text(kept: CachedFolder, key: str) -> str:
    names = ", ".join(kept.folders)
    return f"set-up was not run: {names} put back as attempt {kept.maker} left them (key {key})\n"
