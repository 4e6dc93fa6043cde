"""Copies of checkouts of other machines: real repositories, where work begins and lands as in any other.

A client's command brings its files here before it asks for work, and takes what has landed here back home.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import Clock
from node_agent.wire.git import checked_object, stamp_env
from pancode.code.git.project import open_project
from pancode.code.git.safe import Git, GitRefusal, safe_env, translated
from pancode.code.git.snapshot import index_copy

SENT, HERE = "refs/pancode/sent", "refs/pancode/here"
"""The files as the client has sent them last; and as they are here."""
FOLDER = "checkouts"
_COPY = re.compile(r"c-[0-9a-f]{16}/[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_SERVICES = ("receive-pack", "upload-pack")


@dataclass(frozen=True, slots=True)
class CopyState:
    """A copy as it is now. `commit`: its files, above `head`; None: nothing was ever sent."""

    top: Path
    commit: str | None = None
    head: str | None = None
    branch: str | None = None


def place_of(home: Path, copy: str) -> Path:
    """The folder of a copy; GitRefusal for what is no name of one."""
    if not _COPY.fullmatch(copy):
        raise GitRefusal(f"{copy[:100]} is no copy of a checkout", fix="use the PanCode of this version")
    return home / FOLDER / copy


def served(home: Path, copy: str, service: str) -> socket.socket:
    """The other end of a git that speaks this service for the copy; it ends with the connection."""
    place = place_of(home, copy)
    if service not in _SERVICES or not (place / ".git").is_dir():
        raise GitRefusal(f"there is no copy {copy} to speak with", fix="begin the command again")
    ours, theirs = socket.socketpair()
    shown = [("transfer.hideRefs", one) for one in ("refs/", "HEAD", f"!{SENT}", f"!{HERE}", "!refs/heads/")]
    with theirs:
        process = subprocess.Popen(
            ["git", service, str(place)],
            env=safe_env({"receive.fsckObjects": "true"}, shown),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name=f"git-{service}", daemon=True).start()
    return ours


class CheckoutCopies:
    """`home`: of the coordinator. The same copy is written by one command at a time."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home, self._clock = home, clock

    @translated("the copy of a checkout")
    def state(self, copy: str, object_format: str) -> CopyState:
        """The copy, made where it was missing; HERE names its files."""
        top = place_of(self._home, copy)
        with self._alone(top):
            if not (top / ".git").is_dir():
                asked = ("init", "-q", "--template=", f"--object-format={object_format}", str(top))
                Git(top.parent, safe_env()).must(*asked)
            if not Git(top, safe_env()).ask("rev-parse", "-q", "--verify", SENT).ok:
                return CopyState(top)
            return self._seen(top)

    def _seen(self, top: Path) -> CopyState:
        seen = open_project(top)
        with index_copy(seen) as index:
            git = seen.git.having(GIT_INDEX_FILE=str(index), **stamp_env("pancode", "pancode@localhost", 0))
            git.must("add", "-A", "--", ".")
            tree = git.text("write-tree")
            parents = ("-p", seen.head) if seen.head else ()
            commit = git.must("commit-tree", tree, *parents, stdin=b"The copy as it is\n").text()
        seen.git.must("update-ref", HERE, commit)
        return CopyState(top, commit, seen.head, seen.branch)

    @translated("the copy of a checkout")
    def fill(self, copy: str, commit: str, head: str | None, branch: str | None) -> Path:
        """From now on the copy is as that commit says, which the client has sent: HEAD, branch and files."""
        top, commit = place_of(self._home, copy), checked_object(commit)
        with self._alone(top):
            git = Git(top, safe_env() | {"GIT_DIR": str(top / ".git"), "GIT_WORK_TREE": str(top)})
            if not git.ask("merge-base", "--is-ancestor", commit, SENT).ok:
                raise GitRefusal(f"{commit[:12]} was not sent to this copy", fix="begin the command again")
            ref = f"refs/heads/{branch}" if branch else ""
            if branch and not git.ask("check-ref-format", ref).ok:
                raise GitRefusal(f"{branch[:100]} is no name of a branch")
            git.must("symbolic-ref", "HEAD", ref or "refs/heads/none")
            if head is not None:
                git.must(
                    "update-ref", *(() if branch else ("--no-deref",)), ref or "HEAD", checked_object(head)
                )
            git.ask("read-tree", HERE)  # what is there now, so that what the client has no more goes
            git.must("read-tree", "-u", "--reset", commit)
            git.must("read-tree", head or "--empty")
            git.ask("update-index", "-q", "--refresh")
        return top

    @contextmanager
    def _alone(self, top: Path) -> Iterator[None]:
        top.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(top.parent / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)
