"""Restores an earlier set-up's result, or stores this one's, by a key of everything on which it depends."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from node_agent.attempt.ports import StepFailed
from node_agent.attempt.records import PutBack
from node_agent.wire.job import Job
from node_agent.workspace.cache import Cache, Contents, contents_of, move_place
from node_agent.workspace.folders import (
    AttemptFolders,
    WorkspaceFolders,
    erase,
    read_copied_names,
    real_folder,
)
from node_agent.workspace.git import NodeGit, WorkspaceFailure


class NotCached(Exception):
    """Raised when set-up's result cannot be cached, so that set-up runs. The message tells users why."""


def machine_facts() -> str:
    """Return the facts about this node that affect compiled files."""
    libc = "-".join(part for part in platform.libc_ver() if part)
    return f"{platform.system()} {platform.machine()} {libc} python {platform.python_version()}"


def key_of(job: Job, git: NodeGit, env: Mapping[str, str], on: str, copied: Mapping[str, str]) -> str:
    """Return the SHA-256 over repository, set-up, folders, files, programs, variables and node facts `on`.

    The files are the snapshot's whole tree, or those that `cache.key` in pancode.yaml names. `git`: the
    checkout's repository, before any command ran in it. `env`: set-up's environment. `copied`: digests of the
    copied ignored files. Raises NotCached for a
    pattern in the key that matches no file.
    """
    recipe = {
        "repository": job.workspace.repo,
        "setup": job.setup,
        "cache": sorted(job.cache),
        "files": _list_file_ids(job, git),
        "programs": _list_programs(job, env.get("PATH", "")),
        "env": {name: env.get(name) for name in job.env},
        "machine": on,
        "copied": copied,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _list_file_ids(job: Job, git: NodeGit) -> str:
    """Return the git object ids of the files in the key."""
    snapshot = str(job.workspace.snapshot)
    if not job.cache_key:
        return git.text("rev-parse", f"{snapshot}^{{tree}}")
    git = NodeGit(git.git_dir, variables={"GIT_LITERAL_PATHSPECS": "0"})
    nothing = git.text("hash-object", "-t", "tree", os.devnull)
    found = []
    for pattern in job.cache_key:
        listed = git.text(
            "diff-tree", "-r", "--raw", "--no-abbrev", nothing, snapshot, "--", f":(glob){pattern}"
        )
        if not listed:
            raise NotCached(f"no file of the repository matches {pattern} (cache.key in pancode.yaml)")
        if any(row.split()[1] == _LINK for row in listed.splitlines()):
            raise NotCached(f"{pattern} is a symbolic link (cache.key in pancode.yaml)")
        found.append(listed)
    return "\n".join(found)


_LINK = "120000"
_ABSOLUTE = re.compile(r"/[^\s'\"$;&|<>()=]+")


def _list_programs(job: Job, path: str) -> list[tuple[str, int, int, int]]:
    """Return name, size and times of all programs on PATH, and of those that set-up names by path.

    A package manager starts programs that no command names, so all of PATH counts. The time of change (ctime)
    reveals a new program that was unpacked with an old date.
    """
    named = {word for argv in job.setup for text in argv for word in _ABSOLUTE.findall(text)}
    folders = [folder for folder in path.split(":") if os.path.isdir(folder)]
    names = [f"{folder}/{name}" for folder in folders for name in sorted(os.listdir(folder))]
    found = []
    for name in (*names, *sorted(named)):
        with suppress(OSError, ValueError):
            seen = os.stat(name)
            if stat.S_ISREG(seen.st_mode):
                found.append((name, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
    return found


_COPIED = (
    "the folder contains a copy of the repository's own code, which would be outdated in a later run; "
    "install the code by reference, such as with `pip install -e .`"
)
_DIRECT = "direct_url.json"
"""The file in which an installer records a package's source folder, and whether it is editable."""


MISS = "set-up runs: this node has no stored result for these commands, files, folders and programs"
WHOLE = (
    " (every file counts; to name only the files that set-up reads, use cache: {folders: [...], key: "
    "[...]} in pancode.yaml)"
)


class SetUps:
    """Stores and restores the results of set-ups. Calls may be repeated, also after a crash at any point."""

    def __init__(self, home: WorkspaceFolders, cache: Cache, machine: str) -> None:
        self._home, self._cache, self._machine = home, cache, machine

    def put_back(self, job: Job, log: Path, env: Mapping[str, str]) -> PutBack:
        """Restore set-up's files before any process of the attempt starts, and record that in `log`."""
        places = self._home.places(job.identity)
        log.unlink(missing_ok=True)
        try:
            if job.workspace.kind == "none":
                raise NotCached("the run has no repository")
            for name in job.cache:
                _must_lie_inside(places.tree, name)
            listing = ("ls-tree", "--full-tree", "--name-only", "--", str(job.workspace.snapshot))
            theirs = NodeGit(places.git).text(*listing, *job.cache)
            if theirs:
                raise NotCached(
                    f"{theirs.splitlines()[0]} is in the repository, so it is not made by set-up alone"
                )
            # left by an attempt that crashed: the snapshot contains nothing at these paths
            _clear(places.tree, job.cache)
            given = read_copied_names(places.folder)
            copied = {name: hashlib.sha256((places.tree / name).read_bytes()).hexdigest() for name in given}
            key = key_of(job, NodeGit(places.git), env, self._machine, copied)
        except NotCached as why:
            return PutBack(
                None, findings=(f"nothing of set-up is cached: {why}",), told=f"set-up runs: {why}"
            )
        try:
            kept = self._cache.fetch(key, job.cache, lambda maker, copies: _move(maker, copies, places))
        except OSError as exc:
            _clear(places.tree, job.cache)
            return PutBack(
                key, findings=((f"the stored result of set-up could not be restored: {exc}")[:1000],)
            )
        if kept is None:
            return PutBack(key, told=MISS if job.cache_key else MISS + WHOLE)
        names = ", ".join(kept.folders)
        log_text = f"set-up was not run: {names} restored as attempt {kept.maker} left them (key {key})\n"
        log.write_text(log_text)
        return PutBack(key, restored=True, told=f"set-up was not run: restored as {kept.maker} left it")

    def keep(self, job: Job, key: str) -> tuple[str, ...]:
        """Store the files after a successful set-up. Call only while no process of the attempt runs. Return
        messages with the reason if they were not stored."""
        if self._cache.has(key):
            return ()
        try:
            self._keep(job, key)
        except (NotCached, StepFailed, OSError, ValueError) as why:
            return (f"the result of set-up was not stored for later attempts: {why}"[:1000],)
        return ()

    def _keep(self, job: Job, key: str) -> None:
        places = self._home.places(job.identity)
        mark = _mark(places.folder.name, places)
        found = {name: _looked_over(places.tree, name, mark) for name in job.cache}
        if not self._cache.has_room(sum(seen.size for _, seen in found.values())):
            raise NotCached("the disk's free space would fall below the reserve")
        # The maker is the attempt whose folder the files name: an attempt that continues a session uses an
        # earlier one's.
        self._cache.put(key, places.folder.name, found, job.workspace.repo or "")


def _clear(tree: Path, names: tuple[str, ...]) -> None:
    for name in names:
        erase(tree / name)


def _mark(attempt: str, places: AttemptFolders) -> bytes:
    """Return the end of the checkout's path, which that attempt's files contain in any node agent's home."""
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
        raise NotCached(f"set-up did not make the folder {name}")
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
    """Raise NotCached if a parent of `name` is a link or no folder, as it may lead out of the checkout."""
    for above in (tree / name).parents:
        if above == tree:
            return
        if os.path.lexists(above) and not real_folder(above):
            raise NotCached(f"{above.relative_to(tree)} is not a directory")
    raise WorkspaceFailure(f"{name} is not inside the checkout")
