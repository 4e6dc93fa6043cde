"""Copies of checkouts from other machines: real repositories, where work begins and lands as in any other. A
client's command sends its files to the copy before it requests work, and fetches what has landed there."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git import checked_object, stamp_env
from pancode.git.runner import Git, GitRefusal, safe_env, translate_os_errors
from pancode.git.tree_lock import lock_tree
from pancode.kernel.errors import ConflictError

SENT, FILLED, HERE = "refs/pancode/sent", "refs/pancode/filled", "refs/pancode/here"
"""Refs of a copy: what the client has sent, what the copy was last filled with, and what it is now."""
SAME = stamp_env("pancode", "pancode@localhost", 0)
WORDS = b"The files of a checkout\n"
"""The message of a checkout's commit: both sides make the same commit from the same files and HEAD."""
FOLDER = "checkouts"
_COPY = re.compile(r"c-[0-9a-f]{16}/[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_SERVICES = ("receive-pack", "upload-pack")
_PLAIN = {"core.autocrlf": "false", "core.eol": "lf", "core.excludesFile": "/dev/null"}
"""The copy's git settings: its files stay as on the client, whatever git is configured to do here."""
_INDEX = "pancode-index"
"""In the copy's git folder: the index of the last fill, so that unchanged files are not read again."""


@dataclass(frozen=True, slots=True)
class CopyState:
    """The state of a copy. `commit`: its files, on top of `head`; `filled`: as last filled; None: never."""

    top: Path
    commit: str | None = None
    filled: str | None = None
    head: str | None = None
    branch: str | None = None


def place_of(home: Path, copy: str) -> Path:
    """Return the folder of a copy; GitRefusal for an invalid name."""
    if not _COPY.fullmatch(copy):
        raise GitRefusal(
            f"{copy[:100]} is not a copy of a checkout",
            fix="install the same version of PanCode on this machine and on the coordinator's machine",
        )
    return home / FOLDER / copy


def serve_git(home: Path, copy: str, service: str) -> socket.socket:
    """Return a socket to a git process that serves the copy; git ends with the connection."""
    place = place_of(home, copy)
    if service not in _SERVICES or not (place / ".git").is_dir():
        raise GitRefusal(f"copy {copy} not found", fix="run the command again")
    ours, theirs = socket.socketpair()
    shown = ("refs/", "HEAD", f"!{SENT}", f"!{FILLED}", f"!{HERE}", "!refs/heads/")
    settings = {"receive.fsckObjects": "true", "receive.shallowUpdate": "true"}
    with theirs:
        process = subprocess.Popen(
            ["git", service, str(place)],
            env=safe_env(settings, [("transfer.hideRefs", one) for one in shown]),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name=f"git-{service}", daemon=True).start()
    return ours


class CheckoutCopies:
    """The copies in the coordinator's home. Only one command or landing writes to a copy at a time."""

    def __init__(self, home: Path) -> None:
        self._home = home

    @translate_os_errors("the copy of a checkout")
    def state(self, copy: str, object_format: str) -> CopyState:
        """Return the state of a copy, creating the copy if missing; sets the ref HERE to the copy's files."""
        top = place_of(self._home, copy)
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_tree(top):
            if not (top / ".git").is_dir():
                Git(top, safe_env()).must(
                    "init", "-q", "--template=", f"--object-format={object_format}", str(top)
                )
                for name, value in _PLAIN.items():
                    _make_git(top).must("config", name, value)
            return _read_state(top)

    @translate_os_errors("the copy of a checkout")
    def fill(self, copy: str, commit: str, head: str | None, branch: str | None, before: str | None) -> Path:
        """Set HEAD, branch and files of the copy to this commit, which the client has sent. `before`: the
        copy's files as the client knows them. ConflictError `copy_changed` if they differ."""
        top, commit = place_of(self._home, copy), checked_object(commit)
        with lock_tree(top):
            git = _make_git(top)
            if not git.ask("merge-base", "--is-ancestor", commit, SENT).ok:
                raise GitRefusal(
                    f"commit {commit[:12]} was not sent to this copy", fix="run the command again"
                )
            if _read_state(top).commit != before:
                what = "the copy of your files changed in the meantime"
                raise ConflictError(what, fix="run the same command again", code="copy_changed")
            # Set HEAD and branch as on the client. A branch of the copy whose name conflicts is deleted.
            ref = f"refs/heads/{branch}" if branch else ""
            if branch and not git.ask("check-ref-format", ref).ok:
                raise GitRefusal(f"{branch[:100]} is not a valid branch name")
            for other in git.text("for-each-ref", "--format=%(refname)", "refs/heads").split() if ref else ():
                if other.startswith(f"{ref}/") or ref.startswith(f"{other}/"):
                    git.must("update-ref", "-d", other)
            git.must("symbolic-ref", "HEAD", ref or "refs/heads/none")
            if head is not None:
                git.must("update-ref", *(() if ref else ("--no-deref",)), ref or "HEAD", checked_object(head))
            # start from the present files, so that files removed on the client are deleted
            git.ask("read-tree", HERE)
            git.must("read-tree", "-u", "--reset", commit)
            shutil.copyfile(top / ".git/index", top / ".git" / _INDEX)
            git.must("update-ref", FILLED, commit)
            git.must("read-tree", head or "--empty")
            git.ask("update-index", "-q", "--refresh")
        return top


def _make_git(top: Path, **variables: str) -> Git:
    return Git(top, safe_env() | {"GIT_DIR": str(top / ".git"), "GIT_WORK_TREE": str(top), **variables})


def _read_state(top: Path) -> CopyState:
    """Return the state of a copy compared with its last fill; files that git ignores are not tracked."""
    git = _make_git(top)
    filled = git.ask("rev-parse", "-q", "--verify", f"{FILLED}^{{commit}}").text() or None
    if filled is None:
        return CopyState(top)
    head = git.ask("rev-parse", "-q", "--verify", "HEAD^{commit}").text() or None
    branch = git.ask("symbolic-ref", "-q", "--short", "HEAD").text() or None
    with tempfile.TemporaryDirectory(prefix="pancode-index-", dir=top / ".git") as folder:
        index = Path(folder) / "index"
        kept = top / ".git" / _INDEX
        if kept.exists():
            shutil.copyfile(kept, index)
        mine = _make_git(top, GIT_INDEX_FILE=str(index), **SAME)
        if not kept.exists():
            mine.must("read-tree", filled)
        mine.ask("update-index", "-q", "--refresh")
        mine.must("add", "-A", "--", ".")
        parents = ("-p", head) if head else ()
        commit = mine.must("commit-tree", mine.text("write-tree"), *parents, stdin=WORDS).text()
    git.must("update-ref", HERE, commit)
    return CopyState(top, commit, filled, head, branch)
