"""Keeps what landings on branches of one repository share, as long as one follows the other."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from node_agent.wire.git import Change, checked_object, parse_raw_diff
from pancode.code.git.depot import Depot
from pancode.code.git.errors import GitFailure
from pancode.code.git.merge import CommitFacts
from pancode.code.git.project import GitProject, open_project
from pancode.code.git.safe import Git, end_group

IDLE_S = 3.0
"""How long the git programs stay open after the last landing, and the settings that were read are kept."""
_END = b"end\n"
_OWN = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")


class OpenGit:
    """A git program that answers one question after the other."""

    def __init__(self, git: Git, *args: str) -> None:
        self.args = args
        call = git.call(*args)
        self._process = subprocess.Popen(
            ["git", *args],
            cwd=call.cwd,
            env=dict(call.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ask(self, question: bytes, read: Callable[[IO[bytes]], bytes]) -> bytes:
        """GitFailure where it ends in the place of an answer."""
        there, back = self._process.stdin, self._process.stdout
        assert there is not None and back is not None
        try:
            os.write(there.fileno(), question)  # short; and nothing is left that its end would write
            return read(back)
        except (OSError, ValueError, EOFError) as exc:
            raise GitFailure(self.args, self._process.poll() or 0, f"it gave no answer: {exc}") from exc

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        end_group(self._process)


class LandingSession:
    """The landings of one repository, one at a time. It closes by itself when no landing follows."""

    def __init__(self, depot: Depot, repo_id: str, idle_s: float = IDLE_S) -> None:
        self._depot, self.repo_id, self._idle_s = depot, repo_id, idle_s
        self._lock, self._timer = threading.RLock(), threading.Timer(idle_s, self.close)
        self._open: dict[tuple[str, ...], OpenGit] = {}
        self._project: tuple[object, GitProject] | None = None
        self.tip: str | None = None
        """The commit that the newest landing has made: the depot has all of its history."""

    def __enter__(self) -> LandingSession:
        self._lock.acquire()
        self._timer.cancel()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._timer = threading.Timer(self._idle_s, self.close)
        self._timer.daemon = True
        self._timer.start()
        self._lock.release()

    def close(self) -> None:
        """End its programs and forget what was read. Idempotent."""
        with self._lock:
            self._timer.cancel()
            for one in self._open.values():
                one.close()
            self._open.clear()
            self._project = self.tip = None

    def pids(self) -> tuple[int, ...]:
        """The process ids of the git programs that are open now."""
        return tuple(one.pid for one in list(self._open.values()))

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
        """The repository is read anew at the next landing."""
        self._project = None

    def commits(self, *oids: str) -> list[CommitFacts]:
        """The facts of these commits, as a CommitStore gives them."""
        return [self._commit(oid) for oid in oids]

    def _commit(self, oid: str) -> CommitFacts:
        """GitFailure for what the depot does not have, or is no commit."""
        raw = self._ask(("cat-file", "--batch"), f"{checked_object(oid)}\n".encode(), _whole_object)
        head = [line.decode().split(" ") for line in raw.partition(b"\n\n")[0].splitlines()]
        trees = [words[1] for words in head if words[0] == "tree"]
        if not trees:
            raise GitFailure(("cat-file", oid), 1, "the depot has no such commit")
        return CommitFacts(trees[0], tuple(words[1] for words in head if words[0] == "parent"))

    def changes(self, old_tree: str, new_tree: str) -> tuple[Change, ...]:
        """What differs between two trees."""
        asked = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--stdin")
        pair = f"{checked_object(old_tree)} {checked_object(new_tree)}\n".encode()
        raw = self._ask(asked, pair + _END, lambda back: _until_end(back, pair))
        return tuple(parse_raw_diff(raw))

    def write_commit(
        self, tree: str, parents: tuple[str, ...], signed: Mapping[str, str], words: bytes
    ) -> str:
        """A commit as `git commit-tree` would write it; `signed`: by `stamp_env`."""
        lines = [f"tree {tree}", *(f"parent {one}" for one in parents)]
        for role in ("AUTHOR", "COMMITTER"):
            name, email, date = (signed[f"GIT_{role}_{part}"] for part in ("NAME", "EMAIL", "DATE"))
            lines.append(f"{role.lower()} {name} <{email}> {date.removeprefix('@')}")
        body = "\n".join([*lines, "", ""]).encode() + words
        return _write_object(self._depot.path(self.repo_id), b"commit", body, len(tree))

    def _ask(self, args: tuple[str, ...], question: bytes, read: Callable[[IO[bytes]], bytes]) -> bytes:
        kept = args in self._open
        if not kept:
            self._open[args] = OpenGit(self._depot.git(self.repo_id), *args)
        try:
            return self._open[args].ask(question, read)
        except GitFailure:
            self._open.pop(args).close()
            if not kept:
                raise
        return self._ask(args, question, read)  # it was ended meanwhile, by whomever


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


def _whole_object(back: IO[bytes]) -> bytes:
    head = back.readline().split()
    if not head:
        raise EOFError("the end")
    if len(head) != 3:
        return b""
    size = int(head[2])
    data = back.read(size + 1)
    if len(data) != size + 1:
        raise EOFError("cut off")
    return data[:-1] if head[1] == b"commit" else b""


def _until_end(back: IO[bytes], pair: bytes) -> bytes:
    """A change is two texts with a NUL behind each; the mark after a whole number of changes is the end."""
    if back.readline() != pair:
        raise EOFError("another answer")
    data = b""
    while not (data == _END or (data.endswith(b"\0" + _END) and data.count(b"\0") % 2 == 0)):
        piece = back.readline()
        if not piece:
            raise EOFError("the end")
        data += piece
    return data.removesuffix(_END)


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
