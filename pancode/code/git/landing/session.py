"""Keeps what landings on branches of one repository share, as long as one follows the other."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path

from pancode.code.git.depot import Depot
from pancode.code.git.merge import GitCommits
from pancode.code.git.project import GitProject, open_project

IDLE_MS = 3_000
"""So long after a landing its settings still count for the next one, where no file of them has changed."""
_OWN = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")


class LandingSession(GitCommits):
    """The landings of one repository, one at a time: with `lock`."""

    def __init__(self, depot: Depot, repo_id: str) -> None:
        super().__init__(depot.git(repo_id))
        self._depot, self.repo_id = depot, repo_id
        self.lock = threading.Lock()
        self._project: tuple[object, GitProject] | None = None
        self._used_ms = 0
        self.tip: str | None = None
        """The commit that the newest landing has made: the depot has all of its history."""

    def begin(self, now_ms: int) -> None:
        """Forget what was read, if no landing has followed for a while."""
        if not 0 <= now_ms - self._used_ms <= IDLE_MS:
            self._project = self.tip = None
        self._used_ms = now_ms

    def project(self, folder: Path, environ: Mapping[str, str] | None) -> GitProject:
        """The project as it was read a moment ago, if no settings have changed since. Its HEAD may have
        moved."""
        around = os.environ if environ is None else environ
        mine = tuple(around.get(name, "") for name in _OWN)
        if self._project is None or self._project[0] != _stamp(self._project[1], folder, mine):
            seen = open_project(folder, environ, self.repo_id)
            self._project = _stamp(seen, folder, mine), seen
        return self._project[1]

    def fresh(self) -> None:
        """The repository is read anew at the next look."""
        self._project = None

    def write_commit(
        self, tree: str, parents: tuple[str, ...], signed: Mapping[str, str], words: bytes
    ) -> str:
        """A commit as `git commit-tree` would write it, without that program; `signed`: by `stamp_env`."""
        lines = [f"tree {tree}", *(f"parent {one}" for one in parents)]
        for role in ("AUTHOR", "COMMITTER"):
            name, email, date = (signed[f"GIT_{role}_{part}"] for part in ("NAME", "EMAIL", "DATE"))
            lines.append(f"{role.lower()} {name} <{email}> {date.removeprefix('@')}")
        body = "\n".join([*lines, "", ""]).encode() + words
        return _write_object(self._depot.path(self.repo_id), b"commit", body, len(tree))


def _stamp(seen: GitProject, folder: Path, mine: tuple[str, ...]) -> object:
    """Changes where a file of settings does."""
    home, xdg, own, _ = mine
    users = (
        own,
        os.path.join(home, ".gitconfig"),
        os.path.join(xdg or os.path.join(home, ".config"), "git/config"),
    )
    files = (*users, seen.common_dir / "config", seen.git_dir / "config.worktree")
    return folder, mine, tuple(_when(file) for file in files)


def _when(file: str | Path) -> tuple[int, int, int] | None:
    try:
        at = os.stat(file)
    except OSError:
        return None
    return at.st_mtime_ns, at.st_size, at.st_ino


def _write_object(depot: Path, kind: bytes, body: bytes, digits: int) -> str:
    """A loose object, whole and durable or not there; one that is there is young again."""
    data = kind + b" %d\0" % len(body) + body
    name = hashlib.new("sha1" if digits == 40 else "sha256", data, usedforsecurity=False).hexdigest()
    target = depot / "objects" / name[:2] / name[2:]
    try:
        os.utime(target)
    except FileNotFoundError:
        target.parent.mkdir(exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix="tmp_obj_", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(zlib.compress(data))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, 0o444)
        os.rename(fresh, target)
    return name
